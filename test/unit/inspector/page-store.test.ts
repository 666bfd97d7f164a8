import { expect, it } from 'vitest'
import type { Frame, Happening, PartitionState, Snapshot, StallState, Standing } from '../../../src/inspector/messages'
import { markKinds } from '../../../src/inspector/messages'
import { Store } from '../../../src/inspector/page/store'
import { duration, spoken, summary, waitsFor } from '../../../src/inspector/page/words'

const standing = (happened = { deadLetters: 0, errors: 0, rebalances: 0 }): Standing => ({
  happened,
  state: 'running',
  health: { live: true, ready: true, reasons: [] },
  partitions: [],
  stalls: [],
  retries: { waiting: 0, next: [] },
  totals: {
    ...{ delivered: 0, acked: 0, failed: 0, retried: 0, deadLettered: 0 },
    ...{ published: 0, commits: 0, rebalances: 0 },
  },
})

const none = { count: 0, newest: [] }
const snapshot: Snapshot = {
  ...{ type: 'snapshot', at: 0, since: 0, rows: ['orders-0'], deadLetters: none, errors: none, rebalances: none },
  identity: { clientId: null, group: null, retryTopic: null, dlqTopic: null, pid: 1, version: 1 },
  ...standing(),
}

const frameAt = (at: number, of: Partial<Frame> = {}): Frame => ({
  ...{ type: 'frame', at, rows: [], from: 0, marks: [], counts: [], sampled: { shown: 0, of: 0 } },
  ...{ happenings: [], more: 0, standing: null, missed: 0 },
  ...of,
})

it('keeps only what the diagrams show, however long the page is open', () => {
  const store = new Store()
  store.take(snapshot)
  const letter = (at: number): Happening => ({ at, type: 'dead-lettered', place: `orders-0@${at}`, text: 'no' })
  for (let at = 250; at < 600_000; at += 250) {
    const marks = Array.from({ length: 100 }, (_, offset) => [0, offset % 2, 0, at + offset, 1] as const)
    store.take(
      frameAt(at, {
        ...{ marks, counts: [[0, 500, 500, 0]], happenings: [letter(at)] },
        // A second partition is assigned later.
        ...(at === 250 && { rows: ['orders-1'], from: 1 }),
      }),
    )
  }
  expect([...store.lanes.keys()]).toEqual(['orders-0', 'orders-1'])
  for (const { marks, counts } of store.lanes.values()) {
    expect(marks.length).toBeLessThanOrEqual(14 * 4 * 50)
    expect(counts.length).toBeLessThanOrEqual(14 * 4)
  }
  expect(store.sampled.length).toBeLessThanOrEqual(14 * 4)
  expect(store.deadLetters.newest).toHaveLength(100)
  expect(store.deadLetters.count).toBe(2_399)
  // A partition that is no longer assigned is removed once its marks are too old.
  store.take(frameAt(700_000, { standing: standing() }))
  expect(store.lanes.size).toBe(0)
})

it('takes its counts from the process, so that they include what this connection missed', () => {
  const store = new Store()
  store.take(snapshot)
  store.take(frameAt(1_000, { missed: 7, standing: standing({ deadLetters: 40, errors: 2, rebalances: 3 }) }))
  expect([store.deadLetters.count, store.errors.count, store.rebalances.count, store.missed]).toEqual([40, 2, 3, 7])
  // The process was restarted, and the page has connected again.
  store.take({ ...snapshot, at: 2_000, rows: ['refunds-0'] })
  store.take(frameAt(2_250, { marks: [[markKinds.indexOf('acked'), 0, 10, 5, 1]] }))
  expect(store.lanes.get('refunds-0')!.marks).toEqual([{ kind: 'acked', at: 2_240, offset: 5, attempt: 1 }])
  expect(store.deadLetters.count).toBe(0)
})

it('describes a diagram in words', () => {
  const store = new Store()
  store.take(snapshot)
  store.take(
    frameAt(1_000, {
      counts: [[0, 3, 1, 1]],
      marks: [
        [markKinds.indexOf('delivered'), 0, 0, 1, 1],
        [markKinds.indexOf('retried'), 0, 0, 1, 1],
      ],
    }),
  )
  const partition = { name: 'orders-0', committed: '7' } as PartitionState
  const stall = { offset: '7', why: 'unsettled', since: -60_000, due: null } as StallState
  expect(summary(store.lanes.get('orders-0'), partition, stall, 1_000)).toBe(
    'orders-0, last 10 s: 3 delivered, 1 acked, 1 failed, 1 retried; committed 7; held back: @7 unsettled 61 s',
  )
  expect(waitsFor({ ...stall, since: 900 }, 1_000)).toBe('')
  expect(waitsFor({ ...stall, why: 'not-due', due: 5_000 }, 1_000)).toBe('retry due in 4.0 s')
  expect([0, 999.6, 59_000, 600_000, 10_800_000].map(duration)).toEqual(['0 ms', '1.0 s', '59 s', '10 min', '3 h'])
  expect(spoken({ at: 0, type: 'stalled', place: 'orders-0@7', text: 'routing' })).toBe(
    'held back at orders-0@7: routing',
  )
})
