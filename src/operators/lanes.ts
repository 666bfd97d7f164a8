import { type ConsumeRecord, type DeliveredRecord, deliveryOf } from '../record.js'
import { Fifo } from './fifo.js'

/** Of which records only one may be handled at a time, in the order they came. */
export type HandleOrder = 'partition' | 'key' | 'none'

/** What waits for its lanes. */
export interface LaneUser {
  readonly input: unknown
  lanes: readonly Lane[]
  /** How many of its lanes are taken by earlier ones. */
  waitsFor: number
}

/** What keeps its lanes for its failed records, beyond its end. */
export interface LaneKeeper {
  readonly lanes: readonly Lane[]
  readonly failed: readonly DeliveredRecord[]
  /** Where they stand when they are delivered again: one at a time as well. */
  readonly again: Lane
}

/** One at a time: whoever is in it, and those behind. */
export class Lane {
  taken = false
  /** Whose failed records keep it until they are done with. */
  keeper: LaneKeeper | undefined
  /** Made when first needed: most lanes of keys never have two at a time. */
  waiting: Fifo<LaneUser> | undefined
  /** For the many that use no other. */
  readonly alone: readonly Lane[] = [this]

  constructor(readonly key: string | undefined) {}
}

const none: readonly Lane[] = []

/**
 * Keeps records of one partition or key apart from each other.
 *
 * What takes several lanes, as an array of records does, starts once it is first in all of them. All queue in the order
 * they came, so two of them never wait for each other. A key's lane is gone with its last record: there may be any
 * number of keys.
 */
export class Lanes<U extends LaneUser, K extends LaneKeeper = LaneKeeper> {
  readonly #byKey = new Map<string, Lane>()
  readonly #byPartition = new Map<string, Map<number, Lane>>()
  #kept = 0

  constructor(readonly order: HandleOrder) {}

  /** How many keys have records that wait or are under way. */
  get keys(): number {
    return this.#byKey.size
  }

  /** Something stands behind a failed record, and is still for whoever stands here. */
  get isAwaited(): boolean {
    if (this.#kept === 0) return false
    let awaited = false
    for (const { keeper, waiting } of this.#byKey.values()) {
      if (keeper === undefined) continue
      waiting?.forEach(({ input }) => {
        awaited ||= deliveries(input).some(
          ({ owner, phase, settled }) => phase === 'behind' && !settled && !owner.ended,
        )
      })
    }
    return awaited
  }

  /** True when it may start at once; otherwise `leave` of another will name it. */
  enter(user: U, records: ConsumeRecord<unknown> | readonly ConsumeRecord<unknown>[]): boolean {
    return this.#queue(user, this.#lanesOf(records))
  }

  /** The same for what is delivered again to those that keep lanes for it. */
  enterAgain(user: U, keepers: ReadonlySet<K>): boolean {
    return this.#queue(
      user,
      [...keepers].map(({ again }) => again),
    )
  }

  #queue(user: U, lanes: readonly Lane[]): boolean {
    user.lanes = lanes
    for (const lane of user.lanes) {
      if (lane.taken) {
        user.waitsFor++
        lane.waiting ??= new Fifo()
        lane.waiting.push(user)
        if (lane.keeper !== undefined) hold(user)
      } else lane.taken = true
    }
    return user.waitsFor === 0
  }

  /** The lanes of who failed stay taken until the keeper leaves: nobody is to wait for those behind. */
  keep(keeper: K): void {
    for (const lane of keeper.lanes) {
      this.#kept++
      lane.keeper = keeper
      lane.waiting?.forEach(hold)
    }
  }

  /** Who keeps its key's lane for it: an earlier delivery of it failed, and this one goes ahead of all behind. */
  keeperOf(record: ConsumeRecord<unknown>): K | undefined {
    if (this.#kept === 0) return undefined
    const key = record.key?.toString('latin1')
    const keeper = key === undefined ? undefined : this.#byKey.get(key)?.keeper
    if (keeper === undefined) return undefined
    const delivery = deliveryOf(record)
    const isFor = keeper.failed.some(({ owner, slot }) => owner === delivery?.owner && slot === delivery.slot)
    return isFor ? (keeper as K) : undefined
  }

  /** Lets those behind have the lanes, and names the ones that may start now. */
  leave({ lanes }: U | K, start: (next: U) => void): void {
    for (const lane of lanes) {
      if (lane.keeper !== undefined) {
        this.#kept--
        lane.keeper = undefined
        lane.waiting?.forEach(release)
      }
      const next = lane.waiting?.shift() as U | undefined
      if (next === undefined) {
        lane.taken = false
        if (lane.key !== undefined) this.#byKey.delete(lane.key)
      } else if (--next.waitsFor === 0) start(next)
    }
  }

  #lanesOf(records: ConsumeRecord<unknown> | readonly ConsumeRecord<unknown>[]): readonly Lane[] {
    if (this.order === 'none') return none
    if (!Array.isArray(records)) return this.#laneOf(records as ConsumeRecord<unknown>)?.alone ?? none
    const lanes = new Set<Lane>()
    for (const record of records) {
      const lane = this.#laneOf(record)
      if (lane !== undefined) lanes.add(lane)
    }
    return [...lanes]
  }

  #laneOf(record: ConsumeRecord<unknown>): Lane | undefined {
    if (this.order === 'partition') {
      // Straight from the delivery where there is one: `source` makes an object and a bigint.
      const { topic, partition } = deliveryOf(record)?.owner ?? record.source
      const partitions = entry(this.#byPartition, topic, () => new Map<number, Lane>())
      return entry(partitions, partition, () => new Lane(undefined))
    }
    const key = record.key?.toString('latin1')
    return key === undefined ? undefined : entry(this.#byKey, key, () => new Lane(key))
  }
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}

function hold({ input }: LaneUser): void {
  for (const record of deliveries(input)) if (!record.settled) record.owner.hold(record, 'behind')
}

function release({ input, lanes }: LaneUser): void {
  // An array may stand behind the failed records of several keys.
  if (lanes.some(({ keeper }) => keeper !== undefined)) return
  for (const record of deliveries(input)) if (!record.settled) record.owner.release(record)
}

/** The deliveries behind what `handle` was given: one record, or an array of them. */
export function deliveries(input: unknown): readonly DeliveredRecord[] {
  return (Array.isArray(input) ? input : [input]).map(deliveryOf).filter(delivery => delivery !== undefined)
}
