import { Subscription } from 'rxjs'
import type { PartitionAssignment } from '../../driver.js'
import type { Log } from './log.js'

/** A partition in one member's hands, and how far it has been fetched. */
export class Assignment implements PartitionAssignment {
  readonly topic: string
  readonly partition: number
  paused = true
  ended = false
  /** To be given up: nothing of it is fetched any more. */
  resting = false
  /** The next offset to fetch. */
  next: number
  /** The first fetch may begin in the middle of what was written together. */
  fetched = false
  /** A fetch under way. */
  fetching: Subscription | undefined
  /** What is to be dropped when the assignment ends. */
  readonly held = new Subscription()

  constructor(
    readonly log: Log,
    readonly position: number,
    readonly metadata: string,
    /** What assignments have in common that follow each other by `seek`. */
    readonly lineage: object = {},
  ) {
    this.topic = log.topic
    this.partition = log.partition
    this.next = position
  }

  /** The log is at hand. */
  get endOffset(): number {
    return this.log.end
  }

  end(): void {
    this.ended = true
    this.fetching?.unsubscribe()
    this.held.unsubscribe()
  }
}
