import fc from 'fast-check'
import { Subject } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { type BarrierRecord, type BarrierSignal, completionBarrier } from '../../src/operators/index.js'
import { FakeOwner } from '../marbles/fake-record.js'
import { type Kind, recordOf } from '../marbles/signals.js'

/** What happens to a partition. Numbers choose among the records that exist at that moment. */
type Step =
  | { readonly type: 'deliver' }
  | { readonly type: 'deliver again'; readonly which: number }
  | { readonly type: 'complete'; readonly which: number }
  | { readonly type: 'complete what was never delivered' }
  | { readonly type: 'pass'; readonly gap: number }
  | { readonly type: 'flush' }
  /** The assignment ends. The next one begins this many deliveries before or after the position of this one. */
  | { readonly type: 'end'; readonly from: number }

const which = fc.nat(1_000)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Step>({ type: 'deliver' }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('deliver again'), which }) as fc.Arbitrary<Step> },
  { weight: 8, arbitrary: fc.record({ type: fc.constant('complete'), which }) as fc.Arbitrary<Step> },
  { weight: 1, arbitrary: fc.constant<Step>({ type: 'complete what was never delivered' }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('pass'), gap: fc.nat(4) }) as fc.Arbitrary<Step> },
  { weight: 1, arbitrary: fc.constant<Step>({ type: 'flush' }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('end'), from: fc.integer({ min: -6, max: 2 }) }) as fc.Arbitrary<Step>,
  },
)
const steps = fc.array(step, { maxLength: 120, size: 'max' })
const count = fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 5 }), fc.constant(Number.POSITIVE_INFINITY))

/** How records reach the barrier: all records of a client, those that a filter lets pass, or a mixture. */
const flavour = fc.constantFrom('delivered', 'mapped', 'plain', 'filtered', 'mixture')
type Flavour = 'delivered' | 'mapped' | 'plain' | 'filtered' | 'mixture'

/** The visible records of the log, with gaps between: every offset that is divisible by 3 or by 5. */
const log = Array.from({ length: 600 }, (_, offset) => offset).filter(offset => offset % 3 === 0 || offset % 5 === 0)

interface Delivered {
  readonly record: BarrierRecord
  readonly owner: FakeOwner
  readonly offset: number
}

/** A simple model of the barrier: a list of deliveries, searched from the start each time. */
class Model {
  #deliveries: { readonly owner: FakeOwner; readonly offset: number; next: number; completed: boolean }[] = []
  /** Completed deliveries since the last group or flush. */
  #run: number[] = []
  #position = -1
  #group = -1
  #emitted = -1

  constructor(
    readonly count: number,
    /** Whether the uncompleted records of an ended assignment are dropped. */
    readonly owned: boolean,
  ) {}

  deliver({ owner, offset }: Delivered): void {
    if (this.owned)
      this.#deliveries = this.#deliveries.filter(delivery => delivery.owner === owner || !delivery.owner.ended)
    if (offset < this.#position || this.#deliveries.some(delivery => delivery.offset === offset)) return
    this.#deliveries.push({ owner, offset, next: offset + 1, completed: false })
  }

  complete({ owner, offset }: Delivered): number[] {
    const found = this.#deliveries.find(delivery => delivery.offset === offset)
    if (found !== undefined && (!this.owned || found.owner === owner || !owner.ended)) found.completed = true
    while (this.#deliveries[0]?.completed) {
      this.#position = this.#deliveries.shift()!.next
      this.#run.push(this.#position)
    }
    while (this.#run.length >= this.count) this.#group = this.#run.splice(0, this.count).at(-1)!
    return this.#emit(this.#group)
  }

  pass(position: number): number[] {
    const last = this.#deliveries.at(-1)
    if (last !== undefined) last.next = Math.max(last.next, position)
    else if (position > this.#position) {
      this.#position = position
      if (this.#run.length === 0 && this.count < Number.POSITIVE_INFINITY) this.#group = position
    }
    return this.#emit(this.#group)
  }

  flush(): number[] {
    this.#run = []
    return this.#emit(this.#position)
  }

  #emit(position: number): number[] {
    if (position <= this.#emitted) return []
    this.#emitted = position
    return [position]
  }

  get firstUncompleted(): number | undefined {
    return this.#deliveries.find(({ completed }) => !completed)?.offset
  }
}

function kindOf(flavour: Flavour, at: number): Kind {
  if (flavour === 'filtered') return 'delivered'
  if (flavour === 'mixture') return (['delivered', 'plain', 'mapped', 'delivered'] as const)[at % 4]!
  return flavour
}

/** Runs the steps on a barrier and on its model, and records the step of each emission. */
function compare(steps: readonly Step[], count: number, flavour: Flavour): void {
  const owned = flavour !== 'plain' && flavour !== 'mixture'
  const model = new Model(count, owned)
  const [signals, flush] = [new Subject<BarrierSignal>(), new Subject<void>()]
  const [emitted, expected, faults]: [string[], string[], string[]] = [[], [], []]
  let now = 0
  let last = -1
  signals.pipe(completionBarrier(count, { flush })).subscribe({
    next: ({ offset }) => {
      emitted.push(`${offset} at step ${now}`)
      if (offset <= last) faults.push(`${offset} after ${last}`)
      last = Number(offset)
    },
    error: error => faults.push(String(error)),
  })
  const expectEmitted = (positions: readonly number[]) => {
    expected.push(...positions.map(position => `${position} at step ${now}`))
    // The main rule: no position passes a record that was delivered and is not completed.
    const held = model.firstUncompleted
    if (held !== undefined && last > held) faults.push(`${last} with ${held} uncompleted`)
  }

  let owner = new FakeOwner()
  let cursor = 0
  let slot = 0
  const delivered: Delivered[] = []
  const deliver = (delivery: Delivered) => {
    signals.next({ type: 'delivered', record: delivery.record })
    model.deliver(delivery)
    expectEmitted([])
  }
  for (const step of steps) {
    now++
    const chosen = 'which' in step ? delivered[step.which % Math.max(1, delivered.length)] : undefined
    if (step.type === 'deliver') {
      const offset = log[cursor++]!
      const record = recordOf(kindOf(flavour, now), owner, offset, slot)
      slot += flavour === 'filtered' ? 1 + (now % 2) : 1
      delivered.push({ record, owner, offset })
      deliver(delivered.at(-1)!)
    } else if (step.type === 'deliver again') {
      if (chosen !== undefined && !chosen.owner.ended) deliver(chosen)
    } else if (step.type === 'complete') {
      if (chosen === undefined) continue
      signals.next({ type: 'completed', record: chosen.record })
      expectEmitted(model.complete(chosen))
    } else if (step.type === 'complete what was never delivered') {
      // Markers, and records that do not exist yet.
      const markers = [1, 2, 4, 7].map(offset => recordOf('plain', owner, offset, 0))
      const coming = [0, 1, 2, 64].map(more => recordOf(kindOf(flavour, now), owner, log[cursor + more]!, slot + more))
      for (const record of [...markers, ...coming]) {
        const known = delivered.some(delivery => delivery.offset === Number(record.offset))
        if (!known) signals.next({ type: 'completed', record })
      }
      expectEmitted([])
    } else if (step.type === 'pass') {
      const from = cursor === 0 ? 0 : log[cursor - 1]! + 1
      const position = Math.min(from + step.gap, log[cursor]!)
      const { topic, partition } = owner
      signals.next({ type: 'passed', topic, partition, offset: now % 2 === 0 ? position : BigInt(position) })
      expectEmitted(model.pass(position))
    } else if (step.type === 'flush') {
      flush.next()
      expectEmitted(model.flush())
    } else {
      if (owned) {
        owner.end()
        owner = new FakeOwner()
        slot = 0
      }
      cursor = Math.max(0, cursor + Math.min(step.from, owned ? 2 : 0))
    }
  }
  now++
  signals.complete()
  expectEmitted(model.flush())
  expect(faults).toEqual([])
  expect(emitted).toEqual(expected)
}

describe('completionBarrier', () => {
  it('emits the completed prefix, whatever the order of deliveries, completions, gaps, flushes and ends', () => {
    fc.assert(
      fc.property(steps, count, flavour, (steps, count, flavour) => compare(steps, count, flavour)),
      { numRuns: 3_000 },
    )
  })

  it('emits the position after the last record once all are completed, whatever the order', () => {
    const order = fc
      .integer({ min: 1, max: 250 })
      .chain(size => fc.shuffledSubarray([...log.keys()].slice(0, size), { minLength: size, maxLength: size }))
    fc.assert(
      fc.property(order, flavour, (order, flavour) => {
        const owner = new FakeOwner()
        const signals = new Subject<BarrierSignal>()
        const positions: bigint[] = []
        signals.pipe(completionBarrier()).subscribe(({ offset }) => positions.push(offset))
        const records = order.map((_, slot) => recordOf(kindOf(flavour, slot), owner, log[slot]!, slot))
        for (const record of records) signals.next({ type: 'delivered', record })
        for (const at of order) signals.next({ type: 'completed', record: records[at]! })
        expect(positions.at(-1)).toBe(BigInt(log[order.length - 1]! + 1))
        expect(positions).toEqual([...new Set(positions)].sort((one, other) => Number(one - other)))
      }),
      { numRuns: 300 },
    )
  })
})
