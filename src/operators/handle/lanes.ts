import { type Delivery, deliveryBehind } from '../../delivery.js'
import type { ConsumeRecord } from '../../record.js'

/** Which records are handled one at a time, in their order; see `HandleOptions.order`. */
export type HandleOrder = 'partition' | 'key' | 'none'

/** A user of lanes. It may start once it is first in all of its lanes. */
export interface LaneUser<U extends LaneUser<U>> {
  /** Its places, linked by `beside`. */
  places: Place<U> | undefined
  /** In how many of its lanes another user is before it. */
  waitsFor: number
  /** In how many of its lanes the users before it wait for a redelivery. */
  blockedIn: number
  /** True: one of its records is a delivery of the same record. */
  hasDeliveryOf(record: Delivery): boolean
  /** True: one of its records was read, or forked, after this record. */
  follows(record: Delivery): boolean
  /** Its wait may be long: rebalances and graceful closes must not wait for it until `unblocked`. */
  blocked(): void
  unblocked(): void
}

/** One user's place in one lane. */
export class Place<U extends LaneUser<U>> {
  /** The next place in the lane. */
  behind: Place<U> | undefined
  /** The place of the same user in another lane. */
  beside: Place<U> | undefined
  /** Reference count: 1 for the running user, plus 1 per record of the lane that may be redelivered or is being so. */
  open = 1
  /** How many calls for redeliveries use the place. */
  again = 0
  /** True: its user has ended, and no redelivery has arrived yet. */
  kept = false

  constructor(
    readonly user: U,
    readonly lane: Lane<U>,
  ) {}

  /** True: users behind it cannot start before something is redelivered. */
  get blocks(): boolean {
    return this.kept || this.user.blockedIn > 0
  }
}

/** A queue of places: one user at a time, in the order they came. */
export class Lane<U extends LaneUser<U>> {
  head: Place<U> | undefined
  tail: Place<U> | undefined

  constructor(readonly key: string | undefined) {}
}

/**
 * Starts the records of one partition or key one after the other.
 *
 * A user with several lanes, such as an array of records, starts once it is first in all of them. All users queue in the
 * order in which they came, so two of them never wait for each other. The lane of a key is removed with its last record,
 * because there may be any number of keys.
 *
 * A place may be kept after its user has ended, for a redelivery. The users behind it then wait for something that may take
 * long, and so do the users behind those in other lanes: all of them are blocked.
 */
export class Lanes<U extends LaneUser<U>> {
  readonly #byKey = new Map<string, Lane<U>>()
  readonly #byPartition = new Map<string, Map<number, Lane<U>>>()

  constructor(readonly order: HandleOrder) {}

  /** How many keys have records that wait or are in flight. */
  get keys(): number {
    return this.#byKey.size
  }

  /** Returns true if the user may start at once. Otherwise a later `leave` or `close` starts it. */
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

  /** The place that is, or will be, kept for this record: a redelivery, or one that a branch brought out of its order. */
  placeFor(record: ConsumeRecord<unknown>): Place<U> | undefined {
    const delivery = deliveryBehind(record)
    if (delivery === undefined || this.order !== 'key') return undefined
    // Only `redeliver` delivers a record to the same operator again.
    if (delivery.redeliveries > 0) return this.#placeForAgain(delivery)
    return delivery.shared ? this.#placeBefore(delivery) : undefined
  }

  /**
   * A branch may bring records of a key out of their order. The place of one that was forked after this record is kept until
   * other branches complete it, and there it may wait for this record.
   */
  #placeBefore(delivery: Delivery): Place<U> | undefined {
    const key = delivery.key?.toString('latin1')
    const lane = key === undefined ? undefined : this.#byKey.get(key)
    // Usually records are in order, and then no place of a long lane is visited.
    if (lane?.tail?.user.follows(delivery) !== true) return undefined
    return first(lane.head, user => user.follows(delivery))
  }

  #placeForAgain(delivery: Delivery): Place<U> | undefined {
    const key = delivery.key?.toString('latin1')
    const head = key === undefined ? undefined : this.#byKey.get(key)?.head
    const place = first(head, user => user.hasDeliveryOf(delivery))
    if (place !== undefined || !delivery.shared) return place
    // A branch that acked an earlier delivery before this operator (`keep`) has no place for the record. It goes before the
    // records read after it: their places are kept until other branches complete them, which may depend on this record.
    return first(head, user => user.follows(delivery))
  }

  /** The place of the user in the lane of that key, if it is the first there. */
  placeOf(user: U, key: Buffer): Place<U> | undefined {
    const head = this.#byKey.get(key.toString('latin1'))?.head
    return head?.user === user ? head : undefined
  }

  /** A redelivery has arrived: users behind the place start after it. */
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

  /** The user, or a redelivery, has ended. If the place is still kept for a redelivery, the users behind it are blocked. */
  leave(place: Place<U>, start: (next: U) => void): void {
    if (place.open > 1 && place.again === 0) {
      place.kept = true
      block(place)
    }
    this.close(place, start)
  }

  /** Removes one reference to the place. The last one frees the lane for the next user and starts it if it may start now. */
  close(place: Place<U>, start: (next: U) => void): void {
    if (--place.open > 0) return
    const { lane, behind: next } = place
    if (place.kept) {
      place.kept = false
      unblock(place)
    }
    lane.head = next
    // Cut the link: a handler that hangs after its timeout still references its call, and would keep all later ones in memory.
    place.behind = undefined
    if (next === undefined) {
      lane.tail = undefined
      if (lane.key !== undefined) this.#byKey.delete(lane.key)
    } else if (--next.user.waitsFor === 0) start(next.user)
  }

  /** All users in lanes. A user in several lanes is yielded several times. */
  *users(): Generator<U> {
    for (const lanes of [this.#byKey, ...this.#byPartition.values()]) {
      for (const { head } of lanes.values()) {
        for (let place = head; place !== undefined; place = place.behind) yield place.user
      }
    }
  }

  #laneOf(record: ConsumeRecord<unknown>): Lane<U> | undefined {
    if (this.order === 'partition') {
      // From the delivery if there is one: `source` allocates an object and a bigint.
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

/** Blocks the users behind the place, and those behind them in any lane. A list and no recursion, because queues are long. */
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
