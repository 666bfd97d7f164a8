import { Observable } from 'rxjs'
import { expect, it, vi } from 'vitest'
import { decodeClaim } from '../../../src/drivers/kafka/membership/subscription'
import { errorCode } from '../../../src/protocol/errors'
import { refusing } from '../../fake-broker/asked'
import { brokers, Reading } from '../../fake-broker/reading'

type Test = { onTestFinished(end: () => unknown): void }
type Kafka = Awaited<ReturnType<typeof brokers>>

async function member(test: Test) {
  const kafka = await brokers(test)
  kafka.create('orders', 0)
  kafka.log('orders').append('a')
  const reading = await Reading.start(test, kafka, ['orders'])
  await reading.until(() => reading.has('a'))
  const position = reading.assigned.get('orders-0')!
  reading.onRevoking = ({ hold }) => {
    hold(new Observable(subscriber => void reading.commitOf(position, 1).then(() => subscriber.complete())))
  }
  return { kafka, reading }
}

/** The member joins a generation, and another rebalance begins before it gets its assignment. */
function misses(kafka: Kafka, meanwhile: () => void): void {
  const end = kafka.on('SyncGroup', () => {
    end()
    meanwhile()
    return refusing(errorCode.REBALANCE_IN_PROGRESS)
  })
  kafka.classic.rebalance()
}

/** The generation in which each JoinGroup says that the member had its partitions. */
const claimed = (kafka: Kafka): number[] =>
  kafka.asked
    .filter(({ name, request }) => name === 'JoinGroup' && request.memberId !== '')
    .map(({ request }) => {
      const [{ name, metadata }] = request.protocols
      return decodeClaim(name, metadata).generation
    })

it('a member that misses a generation reads on where another member stopped in it', async test => {
  const { kafka, reading } = await member(test)
  misses(kafka, () => {
    // In that generation the partition was another member's, which has read and committed `b`.
    for (const value of ['b', 'c']) kafka.log('orders').append(value)
    kafka.committed.set('orders-0', { offset: 2, leaderEpoch: -1, metadata: '' })
  })
  await reading.until(() => reading.has('c'))
  expect(reading.records).toEqual(['orders-0@0 a', 'orders-0@2 c'])
  expect(reading.story).toEqual(['assigned', 'revoking', 'revoked', 'assigned'])
  expect(claimed(kafka)).toEqual([-1, 1, 1])
  await vi.waitUntil(() => kafka.asked.at(-1)?.name === 'Heartbeat')
})

it('a member that got every generation keeps its assignment', async test => {
  const { kafka, reading } = await member(test)
  for (const rebalances of [1, 2]) {
    kafka.classic.rebalance()
    await reading.until(() => reading.story.filter(type => type === 'assigned').length === rebalances + 1)
  }
  expect(reading.story).toEqual(['assigned', 'revoking', 'assigned', 'revoking', 'assigned'])
  expect(claimed(kafka)).toEqual([-1, 1, 2])
})
