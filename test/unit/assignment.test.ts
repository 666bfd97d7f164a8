import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Assignment } from '../../src/client/assignment.js'
import { LeakWatch } from '../../src/client/leak-watch.js'
import { DeliveredRecord } from '../../src/record.js'
import { batchOf, setUp } from './lone-assignment.js'

const counts = ({ phases: { inFlight, stuck, resting, left } }: Assignment) => ({ inFlight, stuck, resting, left })
const none = { inFlight: 0, stuck: 0, resting: 0, left: 0 }

describe('an assignment', () => {
  it.each(['behind', 'resting'] as const)(
    'references a record that its pipeline holds %s strongly, without a stand-in that may outlive it',
    phase => {
      const { assignment, seen, subscribe } = setUp()
      let subscription = subscribe()
      assignment.accept(batchOf(2), 0)
      const [record, other] = seen as [DeliveredRecord, DeliveredRecord]
      // A stand-in for the record, as the leak watch makes it when the pipeline has dropped a held record.
      let collected = false
      const standIn = new DeliveredRecord(assignment, record.batch, record.index, record.slot, undefined, 0)
      standIn.phase = record.phase
      standIn.handed = { deref: () => (collected ? undefined : record) }
      assignment.window.replace(standIn)

      record.hold(phase)
      expect(counts(assignment)).toEqual({ ...none, inFlight: 1, [phase === 'behind' ? 'stuck' : 'resting']: 1 })
      collected = true
      subscription.unsubscribe()
      expect(counts(assignment)).toEqual({ ...none, left: 2 })
      subscription = subscribe()
      expect(counts(assignment)).toEqual({ ...none, inFlight: 2 })
      expect(seen.slice(2)).toEqual([record, other])
      for (const again of seen.slice(2)) again.ack()
      expect(counts(assignment)).toEqual(none)
    },
  )

  it('accepts 200,000 records behind a retry that is not due, and leaves the rest in Kafka', () => {
    const { assignment, fetching, seen, subscribe } = setUp({ kind: 'retry' })
    subscribe()
    assignment.drain()
    expect(fetching).toEqual({ paused: 0, resumed: 1 })
    assignment.accept(batchOf(199_000), 0)
    expect(assignment.window.span).toBe(199_000)
    expect(fetching).toEqual({ paused: 0, resumed: 1 })
    assignment.accept(batchOf(5_000, 199_000), 0)
    expect(assignment.window.span).toBe(200_000)
    expect(fetching).toEqual({ paused: 1, resumed: 1 })
    expect(seen).toEqual([])
    assignment.end()
    assignment.dispose()
  })

  it('is committed until it is forgotten', () => {
    const { assignment, commits, handle, seen, subscribe } = setUp({ group: true })
    subscribe()
    assignment.accept(batchOf(2), 0)
    seen[0]!.ack()
    commits.flush()
    expect(assignment.requested).toBe(1n)
    commits.forget(handle)
    seen[1]!.ack()
    commits.flush()
    expect(assignment.position).toBe(2)
    expect(assignment.requested).toBe(1n)
    commits.stop()
  })

  it.each([
    ['a record again', [batchOf(3), batchOf(1, 2)], [2, 3]],
    ['a record below those of the previous batch', [batchOf(3, 10), batchOf(3, 5)], [5, 13]],
    ['a record below another of its batch', [{ ...batchOf(3), offset: (index: number) => [0, 2, 1][index]! }], [1, 3]],
  ])('refuses a driver that delivers %s, and neither delivers nor passes it', (_, batches, wrong) => {
    const { assignment, outOfOrder, seen, subscribe } = setUp({ group: true })
    subscribe()
    for (const batch of batches) assignment.accept(batch, 0)
    expect(outOfOrder.at(-1)).toEqual(wrong)
    const offsets = seen.map(({ batch, index }) => batch.offset(index))
    expect(offsets).toEqual([...new Set(offsets)].sort((one, other) => one - other))
    for (const record of seen) record.ack()
    expect(assignment.position).toBe(wrong[1])
    assignment.end()
    assignment.dispose()
  })

  it('does not go back if a driver passes less than it did before', () => {
    const { assignment, seen, subscribe } = setUp({ group: true })
    subscribe()
    assignment.accept(batchOf(3), 0)
    assignment.accept({ ...batchOf(0), lastOffset: 1 }, 0)
    for (const record of seen) record.ack()
    expect(assignment.position).toBe(3)
    assignment.end()
    assignment.dispose()
  })
})

describe('the leak watch', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('watches a thousand records of an assignment at a time, the oldest first', () => {
    const { clock, assignment, seen, subscribe } = setUp()
    subscribe()
    assignment.accept(batchOf(2_500), 0)
    clock.runTo(5_000)
    const watch = new LeakWatch(() => [assignment], 'report', assignment.host.reports)
    const watched = () => [...assignment.window].filter(({ handed }) => handed !== undefined)
    // A check does a part of its work in each turn.
    const check = () => {
      vi.advanceTimersByTime(1_000)
      while (vi.getTimerCount() > 1) vi.advanceTimersToNextTimer()
    }
    for (let times = 0; times < 3; times++) {
      check()
      expect(watched().map(({ slot }) => slot)).toEqual(Array.from({ length: 1_000 }, (_, slot) => slot))
    }
    for (const record of seen.slice(0, 600)) record.ack()
    check()
    expect(watched().map(({ slot }) => slot)).toEqual(Array.from({ length: 1_000 }, (_, at) => 600 + at))
    watch.end()
    vi.advanceTimersByTime(10_000)
    expect(vi.getTimerCount()).toBe(0)
  })
})
