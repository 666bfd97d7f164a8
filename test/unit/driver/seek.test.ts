import type { Moved, PartitionAssignment } from 'rxmika'
import { describe, expect, it, vi } from 'vitest'
import { errorCode } from '../../../src/protocol/errors'
import { refusing } from '../../fake-broker/asked'
import { brokers, Reading } from '../../fake-broker/reading'

type To = Parameters<Reading['driver']['seek']>[0][number]['to']

/** Moves partitions. Resolves with the new places when all are moved. */
function seek(reading: Reading, ...moves: readonly (readonly [name: string, to: To])[]): Promise<readonly string[]> {
  const seeks = moves.map(([name, to]) => ({ assignment: reading.assigned.get(name)!, to }))
  return sought(reading, seeks)
}

function sought(reading: Reading, seeks: Parameters<Reading['driver']['seek']>[0]): Promise<readonly string[]> {
  const places: string[] = []
  return new Promise((resolve, reject) => {
    reading.driver.seek(seeks).subscribe({
      next: moved => {
        for (const { from, to } of moved) {
          expect([from.ended, to.ended, to.metadata]).toEqual([true, false, ''])
          expect([from.topic, from.partition]).toEqual([to.topic, to.partition])
          const name = `${to.topic}-${to.partition}`
          places.push(`${name}@${to.position}`)
          reading.assigned.set(name, to)
        }
        reading.driver.resume(moved.map(({ to }: Moved) => to))
      },
      error: reject,
      complete: () => resolve(places.sort()),
    })
  })
}

describe('a seek on fake brokers', () => {
  it('continues from its target, delivers nothing fetched before, and is committed backwards', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a', 'b', 'c')
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.records.length === 3)
    await reading.commit('orders-0', 3)
    const before = reading.assigned.get('orders-0')!
    expect(await seek(reading, ['orders-0', 1])).toEqual(['orders-0@1'])
    await reading.until(() => reading.records.length === 5)
    expect(reading.records.slice(3)).toEqual(['orders-0@1 b', 'orders-0@2 c'])
    await reading.commit('orders-0', 1)
    expect(kafka.committed.get('orders-0')!.offset).toBe(1)
    // A commit of the former assignment is not sent.
    reading.assigned.set('orders-0', before)
    await reading.commit('orders-0', 3)
    expect(kafka.committed.get('orders-0')!.offset).toBe(1)
  })

  it('finds beginning and end, and reports an offset that is not in the log', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0, 0, 0, 0)
    for (const partition of [0, 1, 2, 3]) kafka.log('orders', partition).append('a', 'b', 'c')
    for (const partition of [0, 2, 3]) kafka.log('orders', partition).deleteBefore(0)
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.records.length === 12)
    kafka.log('orders', 3).append('d')
    kafka.log('orders', 3).deleteBefore(3)
    expect(
      await seek(reading, ['orders-0', 'earliest'], ['orders-1', 'latest'], ['orders-2', 99], ['orders-3', 1]),
    ).toEqual(['orders-0@0', 'orders-1@3', 'orders-2@0', 'orders-3@3'])
    expect(reading.troubles.map(({ message }) => message).sort()).toEqual([
      'the position orders-2@99 is out of range; reading goes on at 0',
      'the position orders-3@1 is out of range; reading goes on at 3',
    ])
  })

  it('moves partitions of other leaders at once while one leader is away, and its own when it is back', async test => {
    const kafka = await brokers(test, 2)
    kafka.create('orders', 0, 1)
    kafka.log('orders').append('a')
    kafka.log('orders', 1).append('b')
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.records.length === 2)
    kafka.log('orders', 1).leader = -1
    const done = seek(reading, ['orders-0', 'earliest'], ['orders-1', 'earliest'])
    await reading.until(() => reading.records.length === 3)
    expect(reading.records.at(-1)).toBe('orders-0@0 a')
    await reading.until(() =>
      reading.troubles.some(({ message }) => message.includes('the position to move orders-1 to')),
    )
    kafka.log('orders', 1).leader = 1
    expect(await done).toEqual(['orders-0@0', 'orders-1@0'])
    await reading.until(() => reading.records.length === 4)
    expect(reading.records.at(-1)).toBe('orders-1@0 b')
  })

  it('applies the last of several calls, whichever is answered first', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a', 'b', 'c')
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.records.length === 3)
    // The first look-up is refused, and repeated when the second is done.
    kafka.next('ListOffsets', refusing(errorCode.NOT_LEADER_OR_FOLLOWER))
    const first = seek(reading, ['orders-0', 0])
    const second = seek(reading, ['orders-0', 2])
    expect(await second).toEqual(['orders-0@2'])
    expect(await first).toEqual([])
    await reading.until(() => reading.records.at(-1) === 'orders-0@2 c' && reading.records.length > 3)
    expect(reading.assigned.get('orders-0')!.position).toBe(2)
  })

  it('skips ended assignments, and moves nothing after it is unsubscribed', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.records.length === 1)
    const assignment = reading.assigned.get('orders-0')!
    const cancelled = reading.driver.seek([{ assignment, to: 'earliest' }]).subscribe(() => expect.unreachable())
    cancelled.unsubscribe()
    await vi.waitUntil(() => kafka.count('ListOffsets') > 2)
    expect(assignment.ended).toBe(false)
    const other: PartitionAssignment = { topic: 'orders', partition: 0, position: 0, metadata: '', ended: true }
    expect(await sought(reading, [{ assignment: other, to: 0 }])).toEqual([])
  })
})
