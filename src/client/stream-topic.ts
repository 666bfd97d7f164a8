import type { Supply } from '../delivery.js'
import type { StallReason } from '../events.js'
import type { DeliveredRecord } from '../record.js'
import type { FailureRoute } from './failure-route.js'
import type { TopicStream } from './topic-stream.js'

/** One topic of a stream. It has its own pause and failure route. */
export class StreamTopic {
  paused = false

  constructor(
    /** As users name it. */
    readonly name: string,
    readonly stream: TopicStream,
    readonly route: FailureRoute,
  ) {}

  get open(): boolean {
    return !this.paused && this.stream.open
  }

  /** Whether more records of the topic may be read. */
  get wantsMore(): boolean {
    return !this.paused && this.stream.wantsMore
  }

  get supply(): Supply {
    return this.stream.supply
  }

  closedBecause(): StallReason | undefined {
    return this.stream.closedBecause() ?? (this.paused ? 'paused' : undefined)
  }

  next(record: DeliveredRecord): void {
    this.stream.next(record)
  }
}
