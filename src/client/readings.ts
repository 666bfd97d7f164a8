import type { Supply } from '../delivery.js'
import { RecordWithoutConsumerError } from '../errors.js'
import type { StallReason } from '../events.js'
import type { DeliveredRecord, RecordSource } from '../record.js'
import { dueIn, type GroupHeaders, ownDelay } from '../retry/headers.js'
import type { Admission, Assignment, Reading } from './assignment.js'
import type { DlqReplays } from './dlq-replay.js'
import type { FailureRoute } from './failure-route.js'
import type { KeyFenceOptions } from './key-fence.js'
import type { Reports } from './reports.js'
import type { StreamTopic } from './stream-topic.js'
import type { TopicNames } from './topic-names.js'
import type { WallClock } from './wall-clock.js'

/** A registered topic: all of its records go to one stream. */
export class TopicReading implements Reading {
  readonly kind = 'topic'
  readonly active = true
  readonly #admission: Admission

  constructor(
    readonly stream: StreamTopic,
    readonly maxInFlight: number,
    readonly strict: boolean,
    readonly keyFence: KeyFenceOptions | undefined,
  ) {
    this.#admission = { stream, dueIn: 0 }
  }

  accepts(): boolean {
    return this.stream.wantsMore
  }

  get supply(): Supply {
    return this.stream.supply
  }

  closedBecause(): StallReason | undefined {
    return this.stream.closedBecause()
  }

  admit(): Admission {
    return this.#admission
  }

  streamOf(): StreamTopic {
    return this.stream
  }

  routeOf(): FailureRoute {
    return this.stream.route
  }
}

/** What reading the shared retry and DLQ topics uses of the client. */
export interface SharedTopics {
  readonly headers: GroupHeaders
  readonly reports: Reports
  readonly names: TopicNames
  readonly maxInFlight: number
  readonly wallClock: WallClock
  /** By full name. */
  stream(topic: string): StreamTopic | undefined
  /** The route of records without a stream. */
  readonly orphans: FailureRoute
}

/** A topic shared by several groups. This group's copies go to the streams of their original topics; others are skipped. */
abstract class SharedReading implements Reading {
  abstract readonly kind: 'retry' | 'dlq'
  abstract readonly active: boolean
  readonly strict = false
  readonly keyFence = undefined

  constructor(protected readonly shared: SharedTopics) {}

  get maxInFlight(): number {
    return this.shared.maxInFlight
  }

  abstract accepts(assignment: Assignment, offset: number): boolean

  closedBecause(): StallReason | undefined {
    return undefined
  }

  admit(assignment: Assignment, record: DeliveredRecord): Admission | undefined {
    const { headers, reports } = this.shared
    const { batch, index } = record
    const offset = batch.offset(index)
    if (this.isDealtWith(assignment.partition, offset)) {
      this.skipped()
      assignment.complete(record)
      return undefined
    }
    const at = { kind: this.kind, partition: assignment.partition, offset, timestamp: batch.timestamp(index) }
    const own = headers.readOf(batch, index, at)
    if (own.kind === 'foreign') {
      this.skipped()
      reports.skipped(record)
      assignment.complete(record)
      return undefined
    }
    if (own.kind === 'malformed') {
      record.fail(own.error, { retry: false })
      return undefined
    }
    const stream = this.shared.stream(own.origin.topic)
    const topic = this.shared.names.user(own.origin.topic)
    record.origin = { ...own.origin, topic }
    record.stream = stream
    if (stream === undefined) {
      const message = `a record on topic '${assignment.topic}' belongs to topic '${topic}', which is not registered here`
      record.fail(new RecordWithoutConsumerError(topic, message), { retry: false })
      return undefined
    }
    const turn = this.takes(assignment, record)
    if (turn === undefined) return undefined
    const delay = ownDelay(own)
    const due = delay === 0 ? 0 : dueIn(own, this.shared.wallClock.nowFor(delay))
    return { stream, dueIn: Math.max(due, turn) }
  }

  streamOf(record: DeliveredRecord): StreamTopic | undefined {
    return record.stream as StreamTopic | undefined
  }

  routeOf(record: DeliveredRecord): FailureRoute {
    return this.streamOf(record)?.route ?? this.shared.orphans
  }

  protected skipped(): void {}

  /** Whether a record of this group was already completed by other means. */
  protected isDealtWith(_partition: number, _offset: number): boolean {
    return false
  }

  /** The delay before a record of this group may be delivered, ms. Undefined: it is not delivered, and needs no more work. */
  protected takes(_assignment: Assignment, _record: DeliveredRecord): number | undefined {
    return 0
  }
}

export class RetryReading extends SharedReading {
  readonly kind = 'retry'
  readonly active = true

  accepts(): boolean {
    return true
  }
}

export class DlqReading extends SharedReading {
  readonly kind = 'dlq'

  constructor(
    shared: SharedTopics,
    readonly replays: DlqReplays,
  ) {
    super(shared)
  }

  get active(): boolean {
    return this.replays.active
  }

  accepts(assignment: Assignment, offset: number): boolean {
    return this.replays.accepts(assignment.partition, offset)
  }

  protected override skipped(): void {
    this.replays.skipped()
  }

  protected override isDealtWith(partition: number, offset: number): boolean {
    return this.replays.isDealtWith(partition, offset)
  }

  protected override takes(assignment: Assignment, record: DeliveredRecord): number | undefined {
    return this.replays.takes(assignment, record)
  }

  progressed(): void {
    this.replays.progressed()
  }
}

export type ReadingKind = RecordSource['kind']
