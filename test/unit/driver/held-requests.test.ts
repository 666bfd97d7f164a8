import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/clock'
import { Connection } from '../../../src/drivers/kafka/transport/connection'
import { openSocket } from '../../../src/drivers/kafka/transport/socket'
import { heartbeat } from '../../../src/protocol/messages/heartbeat'
import { leaveGroup, leaveOneMember } from '../../../src/protocol/messages/leave-group'
import { brokers } from '../../fake-broker/reading'

type Test = Parameters<typeof brokers>[0]

const member = { groupId: 'billing', generationId: 1, memberId: 'm' }

/** A connection to a fake broker, which is asked for heartbeats. */
async function connected(test: Test) {
  const kafka = await brokers(test)
  const address = { host: '127.0.0.1', port: kafka.brokers[0]!.port }
  const open = await openSocket(address, undefined, 1_000, new AbortController().signal)
  const connection = new Connection(address, 'c', open, systemClock, () => {})
  test.onTestFinished(() => connection.close('the test is over'))
  await connection.learnVersions(1_000)
  return {
    kafka,
    connection,
    beat: (timeout = 1_000) => connection.send(heartbeat, member, timeout),
    leave: () =>
      connection.send(
        leaveGroup,
        version => leaveOneMember('billing', { memberId: 'm', groupInstanceId: null }, null, version),
        1_000,
      ),
    throttling: (throttleTimeMs: number) => ({
      change: (answer: object) => ({ ...answer, throttleTimeMs }),
    }),
  }
}

describe('a request that a throttle holds back', () => {
  it('is not written into a login that begins meanwhile', async test => {
    const { kafka, connection, beat, throttling } = await connected(test)
    kafka.next('Heartbeat', throttling(200))
    await beat()
    const held = beat()
    const story: string[] = []
    const login = connection.alone(async () => {
      story.push(`login begins after ${kafka.count('Heartbeat')}`)
      await sleep(500)
      story.push(`login ends after ${kafka.count('Heartbeat')}`)
    })
    await Promise.all([held, login])
    expect(story).toEqual(['login begins after 1', 'login ends after 1'])
    expect(kafka.count('Heartbeat')).toBe(2)
  })

  it('waits for a longer throttle that is told meanwhile, and its time-out begins after that', async test => {
    const { kafka, connection, beat, throttling } = await connected(test)
    let answer = () => {}
    const until = new Promise<void>(resolve => {
      answer = resolve
    })
    kafka.next('Heartbeat', { ...throttling(1_000), until })
    kafka.next('Heartbeat', throttling(200))
    const first = beat()
    const second = beat(2_000)
    await first
    const began = performance.now()
    const held = beat(300)
    answer()
    await second
    // The broker reads nothing from the connection while it throttles it (KIP-219).
    await held
    expect(performance.now() - began).toBeGreaterThan(900)
    expect(connection.closed).toBe(false)
  })

  it('is sent before requests that are asked for after it', async test => {
    const { kafka, beat, leave, throttling } = await connected(test)
    kafka.next('Heartbeat', throttling(50))
    await beat()
    const held = beat()
    // The throttle is over by the clock, and no timer has fired yet.
    const until = performance.now() + 60
    while (performance.now() < until) {}
    await Promise.all([held, leave()])
    expect(kafka.asked.map(({ name }) => name).slice(1)).toEqual(['Heartbeat', 'Heartbeat', 'LeaveGroup'])
  })
})

it('a login is not repeated while the broker throttles the connection, and so reads nothing from it', async test => {
  const { connection, beat, throttling, kafka } = await connected(test)
  kafka.next('Heartbeat', throttling(400))
  await beat()
  const began = performance.now()
  let after = 0
  await connection.alone(async () => {
    after = performance.now() - began
  })
  expect(after).toBeGreaterThan(350)
})

it('a login is not repeated at once because its session lasts for a year', async test => {
  const { connection } = await connected(test)
  const warnings: string[] = []
  const note = ({ name }: Error) => warnings.push(name)
  process.on('warning', note)
  test.onTestFinished(() => void process.off('warning', note))
  let logins = 0
  connection.aloneAfter(365 * 24 * 3_600_000, async () => void logins++)
  await sleep(100)
  expect(logins).toBe(0)
  expect(warnings).toEqual([])
})
