import { type Delivery, deliveryBehind } from '../../delivery.js'
import type { ConsumeRecord } from '../../record.js'

/** Of which records only one may be handled at a time, in the order they came. */
export type HandleOrder = 'partition' | 'key' | 'none'

/** Who stands in lanes, and starts once it is first in all of them. */
export interface LaneUser<U extends LaneUser<U>> {
  /** Where it stands, one place linked to the next. */
  places: Place<U> | undefined
  /** In how many of its lanes others are before it. */
  waitsFor: number
  /** In how many of its lanes whoever is before it cannot go on by itself. */
  blockedIn: number
  /** A delivery that it stands for, this one or an earlier one of the same record. */
  standsFor(record: Delivery): boolean
  /** One of its records was read after this one. */
  follows(record: Delivery): boolean
  /** Nobody is to wait for it, until `unblocked`. */
  blocked(): void
  unblocked(): void
}

/** One user's place in one lane. */
export class Place<U extends LaneUser<U>> {
  /** Who is next in the lane. */
  behind: Place<U> | undefined
  /** The same user's place in another lane. */
  beside: Place<U> | undefined
  /** What keeps it here: its user until that has ended, and every record of the lane that may be delivered again. */
  open = 1
  /** How many calls have come that are for what was delivered again. */
  again = 0
  /** Its user has ended, and nothing has come again yet. */
  kept = false

  constructor(
    readonly user: U,
    readonly lane: Lane<U>,
  ) {}

  /** Those behind cannot go on before something is delivered again. */
  get blocks(): boolean {
    return this.kept || this.user.blockedIn > 0
  }
}

/** One at a time, in the order they came. */
export class Lane<U extends LaneUser<U>> {
  head: Place<U> | undefined
  tail: Place<U> | undefined

  constructor(readonly key: string | undefined) {}
}

/**
 * Keeps records of one partition or key apart from each other.
 *
 * What takes several lanes, as an array of records does, starts once it is first in all of them. All queue in the order
 * they came, so two of them never wait for each other. A key's lane is gone with its last record: there may be any
 * number of keys.
 *
 * A place may be kept beyond its user's end, for a record that is delivered again. Those behind it then wait for
 * something that may be long in coming, and so do those behind them in other lanes: all of these are blocked.
 */
export class Lanes<U extends LaneUser<U>> {
  readonly #byKey = new Map<string, Lane<U>>()
  readonly #byPartition = new Map<string, Map<number, Lane<U>>>()

  constructor(readonly order: HandleOrder) {}

  /** How many keys have records that wait or are under way. */
  get keys(): number {
    return this.#byKey.size
  }

  /** True when it may start at once; otherwise a `leave` or `close` of another will name it. */
  enter(user: U, records: ConsumeRecord<unknown> | readonly ConsumeRecord<unknown>[]): boolean {
    if (this.order === 'none') return true
    if (!Array.isArray(records)) this.#stand(user, this.#laneOf(records as ConsumeRecord<unknown>))
    else for (const lane of new Set(records.map(record => this.#laneOf(record)))) this.#stand(user, lane)
    if (user.blockedIn > 0) user.blocked()
    return user.waitsFor === 0
  }

  #stand(user: U, lane: Lane<U> | undefined): void {
    if (lane === undefined) return
    const place = new Place(user, lane)
    place.beside = user.places
    user.places = place
    const before = lane.tail
    lane.tail = place
    if (before === undefined) lane.head = place
    else {
      before.behind = place
      user.waitsFor++
      if (before.blocks) user.blockedIn++
    }
  }

  /** The place that is kept, or will be, for other deliveries of this record. */
  placeFor(record: ConsumeRecord<unknown>): Place<U> | undefined {
    const delivery = deliveryBehind(record)
    // Only `redeliver` gives a record again to whoever has it.
    if (delivery === undefined || delivery.redeliveries === 0 || this.order !== 'key') return undefined
    const key = delivery.key?.toString('latin1')
    const head = key === undefined ? undefined : this.#byKey.get(key)?.head
    const place = first(head, user => user.standsFor(delivery))
    if (place !== undefined || !delivery.shared) return place
    // A branch that acked an earlier delivery without this operator (`keep`) has no place for it. It goes before those that
    // were read after it: their places are kept until other branches are done with them, which these may be after it alone.
    return first(head, user => user.follows(delivery))
  }

  /** The user's place in the lane of that key, once it has come to be the first there. */
  placeOf(user: U, key: Buffer): Place<U> | undefined {
    const head = this.#byKey.get(key.toString('latin1'))?.head
    return head?.user === user ? head : undefined
  }

  /** What those behind it wait for has come: they go on after that. */
  enterAgain(place: Place<U>): void {
    place.open++
    place.again++
    if (!place.kept) return
    place.kept = false
    unblock(place)
  }

  leaveAgain(place: Place<U>, start: (next: U) => void): void {
    place.again--
    this.leave(place, start)
  }

  /** Its user, or what came again, has ended: while something else keeps the place, those behind it are blocked. */
  leave(place: Place<U>, start: (next: U) => void): void {
    if (place.open > 1 && place.again === 0) {
      place.kept = true
      block(place)
    }
    this.close(place, start)
  }

  /** One thing less that keeps the place. The last one lets the next have the lane, and names it if it may start now. */
  close(place: Place<U>, start: (next: U) => void): void {
    if (--place.open > 0) return
    const { lane, behind: next } = place
    if (place.kept) {
      place.kept = false
      unblock(place)
    }
    lane.head = next
    // A call that its handler still holds, one that hangs after its time-out, would keep all that came after it.
    place.behind = undefined
    if (next === undefined) {
      lane.tail = undefined
      if (lane.key !== undefined) this.#byKey.delete(lane.key)
    } else if (--next.user.waitsFor === 0) start(next.user)
  }

  /** All who stand in lanes; whoever stands in several comes several times. */
  *users(): Generator<U> {
    for (const lanes of [this.#byKey, ...this.#byPartition.values()]) {
      for (const { head } of lanes.values()) {
        for (let place = head; place !== undefined; place = place.behind) yield place.user
      }
    }
  }

  #laneOf(record: ConsumeRecord<unknown>): Lane<U> | undefined {
    if (this.order === 'partition') {
      // Straight from the delivery where there is one: `source` makes an object and a bigint.
      const { topic, partition } = deliveryBehind(record)?.owner ?? record.source
      const partitions = entry(this.#byPartition, topic, () => new Map<number, Lane<U>>())
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

/** Blocks whoever stands behind the place, and those behind them in any lane: a list and no recursion, for queues are long. */
function block<U extends LaneUser<U>>(place: Place<U>): void {
  const blocking = [place]
  for (const { behind } of blocking) {
    if (behind === undefined || ++behind.user.blockedIn > 1) continue
    behind.user.blocked()
    for (let other = behind.user.places; other !== undefined; other = other.beside) blocking.push(other)
  }
}

function unblock<U extends LaneUser<U>>(place: Place<U>): void {
  const unblocking = [place]
  for (const { behind } of unblocking) {
    if (behind === undefined || --behind.user.blockedIn > 0) continue
    behind.user.unblocked()
    for (let other = behind.user.places; other !== undefined; other = other.beside) unblocking.push(other)
  }
}

function first<U extends LaneUser<U>>(head: Place<U> | undefined, is: (user: U) => boolean): Place<U> | undefined {
  let place = head
  while (place !== undefined && !is(place.user)) place = place.behind
  return place
}
