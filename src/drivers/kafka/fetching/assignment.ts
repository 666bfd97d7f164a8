import type { Clock } from '../../../clock.js'
import type { PartitionAssignment } from '../../../driver.js'
import type { Uuid } from '../../../protocol/wire/uuid.js'

/** Where to read a partition from. */
export interface StartPosition {
  readonly offset: number
  /** Of the record before it; -1: not known. */
  readonly leaderEpoch: number
  readonly metadata: string
}

/** What assignments have in common that follow each other by `seek`. */
export class Lineage {
  #asked = 0
  #moved = 0

  /** The turn of a seek that begins. */
  ask(): number {
    return ++this.#asked
  }

  /** False if a seek that was asked for later was made already. */
  take(turn: number): boolean {
    if (turn < this.#moved) return false
    this.#moved = turn
    return true
  }
}

/** A partition that this member has, and how far it has been read. */
export class Assignment implements PartitionAssignment {
  paused = true
  ended = false
  /** A rebalance may take it: nothing of it is delivered until its outcome is known. */
  resting = false
  /** A broker has answered a fetch of it. */
  wasRead = false
  /** A broker has answered a fetch of it since that was last looked at, or refused it in a way that is reported. */
  answered = false
  /** Why it was not read when a broker was last asked; `undefined` after an answer. */
  refusal: string | undefined
  /** The next offset to fetch. */
  next: number
  /** Of the record before `next`, so that the leader sees whether its log is the one that was read (KIP-320). */
  lastEpoch: number
  /** Counts jumps of the position: what was fetched before one is not delivered after it. */
  jumps = 0
  /** The position whose records could not be read, once that was reported. */
  unreadableAt: number | undefined
  /** The broker to fetch from instead of the leader, which said so (KIP-392). */
  replica: number | undefined
  readonly position: number
  readonly metadata: string
  #heldUntil = Number.NEGATIVE_INFINITY
  #end: number | undefined
  #endHeardAt = Number.NEGATIVE_INFINITY
  /** Where the epochs of what was read begin: the last few, for commits. */
  readonly #epochs: { readonly from: number; readonly epoch: number }[] = []

  constructor(
    readonly topic: string,
    readonly partition: number,
    /** Of the log that the position belongs to. */
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

  get endOffset(): number | undefined {
    return this.clock.monotonic() - this.#endHeardAt > endKnownFor ? undefined : this.#end
  }

  /** An answer said where the log ends that can be read: before the first open transaction. */
  endsAt(offset: number): void {
    this.#end = offset
    this.#endHeardAt = this.clock.monotonic()
  }

  /** Not fetched for so many ms: the broker refused it. */
  hold(ms: number): void {
    this.#heldUntil = this.clock.monotonic() + ms
  }

  /** How long it is still not fetched, ms; 0: it is. */
  get heldFor(): number {
    return Math.max(0, this.#heldUntil - this.clock.monotonic())
  }

  /** A batch was read, up to and with `lastOffset`. */
  advance(baseOffset: number, lastOffset: number, epoch: number): void {
    this.next = lastOffset + 1
    if (epoch < 0) return
    this.lastEpoch = epoch
    if (this.#epochs.at(-1)?.epoch === epoch) return
    this.#epochs.push({ from: baseOffset, epoch })
    // Positions far behind are committed without one, which leaves the check to the first fetch.
    if (this.#epochs.length > maxEpochs) this.#epochs.shift()
  }

  /** The leader epoch of the last record below `offset`; -1: not known. */
  epochBefore(offset: number): number {
    for (let at = this.#epochs.length - 1; at >= 0; at--) {
      const { from, epoch } = this.#epochs[at]!
      if (from < offset) return epoch
    }
    return -1
  }

  /** Reads on elsewhere. */
  jump(position: number, epoch = -1): void {
    this.next = position
    this.lastEpoch = epoch
    this.#epochs.length = 0
    this.jumps++
    this.#heldUntil = Number.NEGATIVE_INFINITY
  }
}

const maxEpochs = 16
/** A partition that is read is fetched several times a second, ms. */
const endKnownFor = 2_000
