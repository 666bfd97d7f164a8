import { systemClock } from '../../clock.js'
import type { PartitionAssignment } from '../../driver.js'

/** A partition in this member's hands, and how far it has been read. */
export class Assignment implements PartitionAssignment {
  paused = true
  ended = false
  /** The next offset to fetch. */
  next: number
  /** Counts jumps of the position: what was fetched before one is not to be delivered after it. */
  reads = 0
  /** Not fetched before this time of the monotonic clock, because the broker refused a fetch. */
  #heldUntil = 0
  /** The position whose records could not be read, once that was told. */
  unreadableAt: number | undefined

  constructor(
    readonly topic: string,
    readonly partition: number,
    readonly position: number,
    readonly metadata: string,
  ) {
    this.next = position
  }

  hold(ms: number): void {
    this.#heldUntil = systemClock.monotonic() + ms
  }

  get isHeld(): boolean {
    return this.#heldUntil > systemClock.monotonic()
  }

  move(position: number): void {
    this.next = position
    this.reads++
    this.#heldUntil = 0
  }
}
