import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RecordBatch } from '../../src/record-batch.js'
import { batchOf, setUp } from './lone-assignment.js'

/** Records of one byte each. */
const bytes = (count: number, first: number): RecordBatch => ({ ...batchOf(count, first), byteLength: count })

/** An assignment whose pipeline takes as many records as allowed, and whose driver stops fetching on request. */
function heldBack() {
  const { assignment, fetching, reading, seen, subscribe } = setUp()
  const world = { allowed: 0, brought: 0 }
  Object.assign(reading, { accepts: () => seen.length < world.allowed })
  subscribe()
  assignment.drain()
  return {
    ...{ assignment, seen },
    get isFetching() {
      return fetching.resumed > fetching.paused
    },
    /** Records that were fetched and not delivered. */
    get left() {
      return world.brought - seen.length
    },
    answer(count: number) {
      assignment.accept(bytes(count, world.brought), 0)
      world.brought += count
    },
    /** Delivers up to `count` more records, now or when they arrive. */
    take(count: number) {
      world.allowed = seen.length + count
      assignment.drain()
    },
  }
}

describe('a partition whose pipeline is slow', () => {
  it('is fetched again when half of the fetched records are delivered, so that the next are in flight meanwhile', () => {
    const partition = heldBack()
    expect(partition.isFetching).toBe(true)
    partition.answer(100)
    expect(partition.isFetching).toBe(false)
    partition.take(49)
    expect(partition.isFetching).toBe(false)
    partition.take(1)
    expect(partition.isFetching).toBe(true)
    partition.take(10)
    expect(partition.isFetching).toBe(true)
    // The 40 records that are left do not count as part of this fetch.
    partition.answer(60)
    expect(partition).toMatchObject({ left: 100, isFetching: false })
    partition.take(69)
    expect(partition.isFetching).toBe(false)
    partition.take(1)
    expect(partition).toMatchObject({ left: 30, isFetching: true })
  })

  it('is not paused at all if half of what came is taken at once', () => {
    const { assignment, fetching, reading, seen, subscribe } = setUp()
    Object.assign(reading, { accepts: () => seen.length < 60 })
    subscribe()
    assignment.drain()
    assignment.accept(bytes(100, 0), 0)
    expect(seen).toHaveLength(60)
    expect(fetching).toEqual({ resumed: 1, paused: 0 })
    // The next answer finds 40 records waiting: now more than half of what came since waits.
    assignment.accept(bytes(60, 100), 0)
    expect(fetching).toEqual({ resumed: 1, paused: 1 })
  })

  it('does not count records that a fast pipeline has taken long ago', () => {
    const partition = heldBack()
    partition.take(5_000)
    for (let times = 0; times < 50; times++) partition.answer(100)
    expect(partition).toMatchObject({ left: 0, isFetching: true })
    partition.answer(100)
    expect(partition.isFetching).toBe(false)
    partition.take(49)
    expect(partition.isFetching).toBe(false)
  })

  it('is not fetched while its window is full', () => {
    const { assignment, fetching, reading, seen, subscribe } = setUp()
    Object.assign(reading, { maxInFlight: 80 })
    subscribe()
    assignment.drain()
    assignment.accept(bytes(100, 0), 0)
    expect(fetching).toEqual({ resumed: 1, paused: 1 })
    for (const record of seen.slice(0, 10)) record.ack()
    assignment.drain()
    expect(fetching).toEqual({ resumed: 1, paused: 1 })
    for (const record of seen.slice(10, 40)) record.ack()
    assignment.drain()
    expect(fetching).toEqual({ resumed: 2, paused: 1 })
  })

  it('has at most three answers in its queue, and is fetched whenever the queue is empty (generated)', () => {
    const most = 50
    const step = fc.oneof(
      fc.record({ answers: fc.array(fc.integer({ min: 1, max: most }), { minLength: 1, maxLength: 2 }) }),
      fc.record({ take: fc.nat(2 * most) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const partition = heldBack()
        for (const step of steps) {
          // One answer was requested ahead when the first arrived. The pause does not delay it.
          if ('answers' in step && partition.isFetching) for (const count of step.answers) partition.answer(count)
          if ('take' in step) partition.take(step.take)
          expect(partition.left).toBeLessThanOrEqual(3 * most)
          if (partition.left === 0) expect(partition.isFetching).toBe(true)
        }
      }),
    )
  })
})
