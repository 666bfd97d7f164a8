import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DeliveredRecord } from '../../src/record.js'
import type { RecordBatch } from '../../src/record-batch.js'
import { batchOf, setUp } from './lone-assignment.js'

/** What a subscriber does during the delivery of a record. */
type Work = 'ack' | 'keep' | 'ack the oldest and keep' | 'flush, then ack' | 'flush, then keep' | 'redeliver'

type Step =
  | { readonly type: 'fetch'; readonly gaps: readonly number[]; readonly after: number }
  | { readonly type: 'settle'; readonly which: number }
  | { readonly type: 'flush' }
  | { readonly type: 'resubscribe' }

const work = fc.constantFrom<Work[]>(
  ...([
    'ack',
    'ack',
    'ack',
    'keep',
    'ack the oldest and keep',
    'flush, then ack',
    'flush, then keep',
    'redeliver',
  ] as const),
)
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('fetch' as const),
      gaps: fc.array(fc.nat(2), { maxLength: 6 }),
      after: fc.nat(3),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('settle' as const), which: fc.nat(100) }) },
  { weight: 2, arbitrary: fc.constant({ type: 'flush' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'resubscribe' as const }) },
) satisfies fc.Arbitrary<Step>

/** Records with gaps between their offsets, and offsets without records after the last one. */
function batchWith(gaps: readonly number[], after: number, first: number): RecordBatch {
  let next = first
  const offsets = gaps.map(gap => {
    const offset = next + gap
    next = offset + 1
    return offset
  })
  return {
    ...batchOf(offsets.length, first),
    lastOffset: next + after - 1,
    offset: index => offsets[index]!,
    copy: index => batchOf(1, offsets[index]),
  }
}

describe('the positions that an assignment commits', () => {
  it('are the completed prefix, whenever records are settled, within a delivery or after it (generated)', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 40 }),
        fc.array(work, { minLength: 1, maxLength: 30 }),
        (steps, works) => {
          const { clock, assignment, commits, stream } = setUp({ group: true })
          /** In the order of the log: the offset of each record, and whether the record is completed. */
          const log = new Map<number, boolean>()
          let open: DeliveredRecord[] = []
          let given = 0
          let readTo = 0
          let next = 0
          const offsetOf = ({ batch, index }: DeliveredRecord) => batch.offset(index)
          const ack = (record: DeliveredRecord) => {
            open = open.filter(other => other !== record)
            log.set(offsetOf(record), true)
            record.ack()
          }
          const wrong: string[] = []
          const flush = () => {
            commits.flush()
            const offsets = [...log.keys()]
            const first = offsets.findIndex(offset => log.get(offset) === false)
            const position = Number(assignment.requested)
            // The position is after every record of the completed prefix, and not after the first uncompleted one.
            const least = first === -1 ? readTo : first === 0 ? 0 : offsets[first - 1]! + 1
            const most = first === -1 ? next : offsets[first]!
            // Checked here, because an assertion that fails during a delivery would be an error of the subscriber.
            if (position < least || position > most) wrong.push(`${position} is not in ${least}…${most}`)
          }
          const subscribe = () =>
            stream.records.subscribe(value => {
              const record = value as DeliveredRecord
              log.set(offsetOf(record), false)
              readTo = Math.max(readTo, offsetOf(record))
              const todo = works[given++ % works.length]!
              if (todo.startsWith('flush')) flush()
              if (todo === 'redeliver' && record.redeliveries === 0) return assignment.redeliver(record, 1)
              if (todo.endsWith('ack')) return ack(record)
              if (todo.startsWith('ack') && open.length > 0) ack(open[0]!)
              open.push(record)
            })
          let subscription = subscribe()
          for (const step of steps) {
            if (step.type === 'fetch') {
              const batch = batchWith(step.gaps, step.after, next)
              next = batch.lastOffset + 1
              assignment.accept(batch, 0)
              readTo = next
            } else if (step.type === 'settle') {
              if (open.length > 0) ack(open[step.which % open.length]!)
            } else if (step.type === 'flush') flush()
            else {
              subscription.unsubscribe()
              open = []
              subscription = subscribe()
            }
            clock.runTo(clock.frame + 2)
          }
          flush()
          while (open.length > 0) ack(open.at(-1)!)
          for (let times = 0; times < 3; times++) {
            clock.runTo(clock.frame + 2)
            while (open.length > 0) ack(open.at(-1)!)
          }
          flush()
          expect(wrong).toEqual([])
          expect(Number(assignment.requested)).toBe(next)
          commits.stop()
        },
      ),
      { numRuns: 300 },
    )
  })
})
