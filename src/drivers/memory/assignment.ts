import { Subscription } from 'rxjs'
import type { PartitionAssignment } from '../../driver.js'
import type { Log } from './log.js'

/** A partition assigned to one member, and how far it was fetched. */
export class Assignment implements PartitionAssignment {
  readonly topic: string
  readonly partition: number
  paused = true
  ended = false
  /** True: it is about to be revoked, and nothing more of it is fetched. */
  resting = false
  /** The next offset to fetch. */
  next: number
  /** False before the first fetch, which may begin in the middle of records that were written together. */
  fetched = false
  /** A fetch in flight. */
  fetching: Subscription | undefined
  /** Unsubscribed when the assignment ends. */
  readonly held = new Subscription()

  constructor(
    readonly log: Log,
    readonly position: number,
    readonly metadata: string,
    /** Shared by assignments that follow each other by `seek`. */
    readonly lineage: object = {},
  ) {
    this.topic = log.topic
    this.partition = log.partition
    this.next = position
  }

  /** Always known, because the log is in this process. */
  get endOffset(): number {
    return this.log.end
  }

  end(): void {
    this.ended = true
    this.fetching?.unsubscribe()
    this.held.unsubscribe()
  }
}
