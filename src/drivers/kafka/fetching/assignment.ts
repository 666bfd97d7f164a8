import type { Clock } from '../../../clock.js'
import type { PartitionAssignment } from '../../../driver.js'
import type { Uuid } from '../../../protocol/wire/uuid.js'
import { FetchSize } from './fetch-size.js'

/** Where reading of a partition begins. */
export interface StartPosition {
  readonly offset: number
  /** The leader epoch of the record before it; -1 if unknown. */
  readonly leaderEpoch: number
  readonly metadata: string
}

/** Shared by an assignment and those that replace it. Orders concurrent seeks. */
export class Lineage {
  #latestTurn = 0
  #movedBy = 0

  /** Returns the turn of a seek that begins. */
  ask(): number {
    return ++this.#latestTurn
  }

  /** Returns false if a seek that began later has already moved the partition. */
  take(turn: number): boolean {
    if (turn < this.#movedBy) return false
    this.#movedBy = turn
    return true
  }
}

/** A partition assigned to this member, and how far it has been read. */
export class Assignment implements PartitionAssignment {
  readonly size = new FetchSize()
  ended = false
  /** A rebalance may revoke it. Nothing is delivered until that is decided. */
  resting = false
  /** A broker has answered a fetch of it. */
  wasRead = false
  /** A broker has answered a fetch of it since the last check, or refused it with an error that is reported elsewhere. */
  answered = false
  /** Why the latest fetch failed; undefined after a successful one. */
  refusal: string | undefined
  /** The next offset to fetch. */
  next: number
  /** The leader epoch of the record before `next`. By it the leader detects that its log is not the one that was read (KIP-320). */
  lastEpoch: number
  /** The number of jumps of the position. Records fetched before a jump are not delivered after it. */
  jumps = 0
  /** The position that was reported as not decodable. */
  unreadableAt: number | undefined
  /** The replica to fetch from instead of the leader, as the leader said (KIP-392). */
  replica: number | undefined
  readonly position: number
  readonly metadata: string
  #paused = true
  #heldUntil = Number.NEGATIVE_INFINITY
  #end: number | undefined
  #endReportedAt = Number.NEGATIVE_INFINITY
  /** The first offsets of the latest leader epochs, for commits. */
  readonly #epochs: { readonly from: number; readonly epoch: number }[] = []

  constructor(
    readonly topic: string,
    readonly partition: number,
    /** The id of the topic that the position belongs to. */
    readonly topicId: Uuid,
    start: StartPosition,
    readonly clock: Clock,
    readonly lineage = new Lineage(),
  ) {
    this.position = this.next = start.offset
    this.lastEpoch = start.leaderEpoch
    this.metadata = start.metadata
    if (start.leaderEpoch >= 0) this.#epochs.push({ from: start.offset - 1, epoch: start.leaderEpoch })
  }

  get paused(): boolean {
    return this.#paused
  }

  pause(): void {
    this.#paused = true
    this.size.pause(this.clock.monotonic())
  }

  resume(): void {
    this.#paused = false
    this.size.resume(this.clock.monotonic())
  }

  get endOffset(): number | undefined {
    return this.clock.monotonic() - this.#endReportedAt > endValidFor ? undefined : this.#end
  }

  /** Sets the end of the readable log, which is before the first open transaction. */
  endsAt(offset: number): void {
    this.#end = offset
    this.#endReportedAt = this.clock.monotonic()
  }

  /** Stops fetching it for `ms`, after a refusal by the broker. */
  hold(ms: number): void {
    this.#heldUntil = this.clock.monotonic() + ms
  }

  /** How long it is still not fetched, ms; 0 if it may be fetched. */
  get heldFor(): number {
    return Math.max(0, this.#heldUntil - this.clock.monotonic())
  }

  /** A batch was read that covers `baseOffset` to `lastOffset`. */
  advance(baseOffset: number, lastOffset: number, epoch: number): void {
    this.next = lastOffset + 1
    if (epoch < 0) return
    this.lastEpoch = epoch
    if (this.#epochs.at(-1)?.epoch === epoch) return
    this.#epochs.push({ from: baseOffset, epoch })
    // Without their epoch, positions far behind are committed with none. Then the first fetch after a restart checks less.
    if (this.#epochs.length > maxEpochs) this.#epochs.shift()
  }

  /** The leader epoch of the last record below `offset`; -1 if unknown. */
  epochBefore(offset: number): number {
    for (let at = this.#epochs.length - 1; at >= 0; at--) {
      const { from, epoch } = this.#epochs[at]!
      if (from < offset) return epoch
    }
    return -1
  }

  /** An assignment of the same log that replaces this one, and begins at another position. */
  successorAt(offset: number, leaderEpoch = -1): Assignment {
    const { topic, partition, topicId, clock, lineage } = this
    const to = new Assignment(topic, partition, topicId, { offset, leaderEpoch, metadata: '' }, clock, lineage)
    to.wasRead = this.wasRead
    return to
  }

  /** Continues reading at another position. */
  jump(position: number, epoch = -1): void {
    this.next = position
    this.lastEpoch = epoch
    this.#epochs.length = 0
    this.jumps++
    this.#heldUntil = Number.NEGATIVE_INFINITY
  }
}

const maxEpochs = 16
/** How long a reported end counts, ms. A partition that is read is fetched several times per second. */
const endValidFor = 2_000
