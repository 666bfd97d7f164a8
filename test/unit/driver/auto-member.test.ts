import { describe, expect, it, vi } from 'vitest'
import { errorCode } from '../../../src/protocol/errors'
import { consumerGroupHeartbeat } from '../../../src/protocol/messages/consumer-group-heartbeat'
import { refusing } from '../../fake-broker/asked'
import type { FakeKafka } from '../../fake-broker/fake-kafka'
import { brokers, Reading } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

type Test = Parameters<typeof brokers>[0]

const heartbeat = 'ConsumerGroupHeartbeat'

/** Why a group cannot be joined by the consumer protocol. */
const refusals: readonly {
  readonly why: string
  readonly told: RegExp
  readonly refuse: (kafka: FakeKafka) => void
}[] = [
  {
    why: 'brokers do not list its heartbeat (before 3.7)',
    told: /does not support ConsumerGroupHeartbeat/,
    refuse: kafka =>
      kafka.on('ApiVersions', () => ({
        change: answer => ({
          ...answer,
          apiKeys: answer.apiKeys.filter((each: { apiKey: number }) => each.apiKey !== consumerGroupHeartbeat.key),
        }),
      })),
  },
  {
    why: 'brokers list its heartbeat and refuse it (3.9, or group.version 0)',
    told: /UNSUPPORTED_VERSION/,
    refuse: kafka => kafka.on(heartbeat, () => refusing(errorCode.UNSUPPORTED_VERSION)),
  },
  {
    why: 'the group is classic and cannot be changed over',
    told: /GROUP_ID_NOT_FOUND/,
    refuse: kafka => kafka.on(heartbeat, () => refusing(errorCode.GROUP_ID_NOT_FOUND)),
  },
]

async function orders(test: Test, nodes = 1) {
  const kafka = await brokers(test, nodes)
  kafka.create('orders', 0, 0)
  kafka.log('orders').append('a')
  return kafka
}

const auto = { groupProtocol: 'auto' } as const

describe("a member whose groupProtocol is 'auto'", () => {
  it('joins by the consumer protocol if the group supports it', async test => {
    const kafka = await orders(test)
    const reading = await Reading.start(test, kafka, ['orders'], auto)
    await reading.until(() => reading.has('a') && reading.assigned.size === 2)
    await reading.commit('orders-0', 1)
    expect(kafka.consumer.members.size).toBe(1)
    expect(kafka.count('JoinGroup')).toBe(0)
    expect(reading.log).toEqual([])
  })

  it.each(refusals)('joins by the classic protocol, and logs that once, if $why', async ({ told, refuse }) => {
    await using test = new Scope()
    const kafka = await orders(test)
    refuse(kafka)
    const reading = await Reading.start(test, kafka, ['orders'], auto)
    await reading.until(() => reading.has('a') && reading.assigned.size === 2)
    await reading.commit('orders-0', 1)
    expect(kafka.committed.get('orders-0')?.offset).toBe(1)
    expect(kafka.count('JoinGroup')).toBeGreaterThan(0)
    expect(kafka.count(heartbeat)).toBeLessThanOrEqual(1)
    expect(reading.log).toEqual([expect.stringMatching(/^group 'billing' is joined by the classic protocol, because /)])
    expect(reading.log[0]).toMatch(told)
    expect(reading.troubles).toEqual([])
  })

  it('continues with the classic protocol if its coordinator moves to a broker that has only that', async test => {
    const kafka = await orders(test, 2)
    const reading = await Reading.start(test, kafka, ['orders'], auto)
    await reading.until(() => reading.has('a') && reading.assigned.size === 2)
    await reading.commit('orders-0', 1)
    kafka.on(heartbeat, ({ node }) => (node === 1 ? refusing(errorCode.UNSUPPORTED_VERSION) : undefined))
    kafka.consumer.members.clear()
    kafka.coordinator = 1
    await reading.until(() => reading.story.includes('lost') && reading.assigned.size === 2)
    kafka.log('orders').append('b')
    await reading.until(() => reading.has('b'))
    await reading.commit('orders-0', 2)
    expect(kafka.committed.get('orders-0')?.offset).toBe(2)
    // Nothing that was committed is read again.
    expect(reading.records.filter(record => record.endsWith(' a'))).toHaveLength(1)
  })

  it('has the topics that were added meanwhile, and leaves', async test => {
    const kafka = await orders(test)
    kafka.create('refunds', 0)
    kafka.log('refunds').append('r')
    let refuse = () => {}
    const until = new Promise<void>(resolve => {
      refuse = resolve
    })
    kafka.on(heartbeat, () => ({ until, ...refusing(errorCode.UNSUPPORTED_VERSION) }))
    const reading = await Reading.start(test, kafka, ['orders'], auto)
    await vi.waitUntil(() => kafka.count(heartbeat) > 0, 5_000)
    reading.driver.subscribe(['orders', 'refunds'])
    refuse()
    await reading.until(() => reading.has('a', 'r'))
    await new Promise<void>(resolve => reading.driver.close().subscribe({ complete: resolve }))
    expect(kafka.count('LeaveGroup')).toBe(1)
  })

  it.each(refusals.slice(0, 2))("ends with 'consumer' instead, if $why", async ({ refuse }) => {
    await using test = new Scope()
    const kafka = await orders(test)
    refuse(kafka)
    const reading = await Reading.start(test, kafka, ['orders'], { groupProtocol: 'consumer' })
    await reading.until(() => reading.error !== undefined)
    expect(reading.error).toMatchObject({ code: 'RXMIKA_CONFIGURATION' })
    expect(kafka.count('JoinGroup')).toBe(0)
  })
})
