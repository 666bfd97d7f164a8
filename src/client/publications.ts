import { Observable, type Subscriber, type Subscription, type TeardownLogic } from 'rxjs'
import { type ClientMessage, Operation, type PublishMessage, publishChannel } from '../channels.js'
import type { Clock } from '../clock.js'
import { ClientClosedError, PublishError } from '../errors.js'
import type { ProduceResult } from '../produce-result.js'
import type { ProduceRecord, PublishRecord, RecordMetadata } from '../publish.js'
import { Readable } from '../readable.js'
import { messageOf } from '../retry/reason.js'
import { ending } from './ending.js'
import { type Publisher, Sending } from './publisher.js'
import type { TopicNames } from './topic-names.js'

export interface PublicationsHost {
  readonly identity: ClientMessage
  readonly publisher: Publisher
  readonly names: TopicNames
  readonly clock: Clock
  /** Why the brokers cannot be reached; undefined if they can, or if it is not known yet. */
  unreachable(): unknown
  /** Completes once publishing is possible; errors if it never will be. */
  readonly connected: Observable<never>
  /** Called when a publication has ended. */
  ended(): void
}

/**
 * The pending calls of `publish`. Each ends by itself, at its deadline, or when the client closes.
 *
 * There may be tens of thousands, so none has its own timer or subscription: calls with the same time-out end in the order
 * in which they began, and share one timer.
 */
export class Publications {
  readonly #byTimeout = new Map<number, Deadlines>()
  #open = 0
  #connected = false
  #ended = false

  constructor(readonly host: PublicationsHost) {}

  get open(): number {
    return this.#open
  }

  /** @param records Topics as users name them. */
  publish(records: readonly PublishRecord[], timeout: number): Observable<RecordMetadata[]> {
    return new Observable(subscriber => {
      if (this.#ended) return subscriber.error(new ClientClosedError())
      if (!publishChannel.hasSubscribers) return this.#begin(records, timeout, subscriber, undefined)
      const operation = new Operation<PublishMessage>(publishChannel, {
        ...{ ...this.host.identity, records, topics: topicsOf(records), copyOf: undefined },
      })
      // The empty `run` only publishes the operation. A connection opened below outlives this call, and must not run within it.
      operation.run(() => {})
      const traced = operation.message.records
      // A subscriber may add headers. Nothing else of its records counts.
      const own = records.map((record, at) => {
        const headers = traced[at]?.headers
        return headers === record.headers ? record : { ...record, headers }
      })
      return this.#begin(traced === records ? records : own, timeout, subscriber, operation)
    })
  }

  #begin(
    records: readonly PublishRecord[],
    timeout: number,
    subscriber: Subscriber<RecordMetadata[]>,
    operation: Operation<PublishMessage> | undefined,
  ): TeardownLogic {
    const { clock, publisher, names } = this.host
    const publication = new Publication(records, clock.monotonic() + timeout, subscriber, names, operation)
    const deadlines = this.#deadlines(timeout)
    // Counted while it waits for the connection too, because a close waits for it.
    this.#open++
    deadlines.add(publication)
    subscriber.add(() => {
      operation?.cancelled()
      this.#open--
      deadlines.delete(publication)
      this.host.ended()
    })
    if (this.#connected) return publication.send(publisher)
    return this.host.connected.subscribe({
      error: error => publication.fail(error),
      complete: () => {
        this.#connected = true
        publication.send(publisher)
      },
    })
  }

  /** The client is closed. */
  end(): void {
    this.#ended = true
    for (const deadlines of this.#byTimeout.values()) deadlines.fail(() => new ClientClosedError())
  }

  #deadlines(timeout: number): Deadlines {
    let deadlines = this.#byTimeout.get(timeout)
    if (deadlines === undefined) {
      // Removed with its last publication, because every caller may use a different time-out.
      deadlines = new Deadlines(this.host, timeout, () => this.#byTimeout.delete(timeout))
      this.#byTimeout.set(timeout, deadlines)
    }
    return deadlines
  }
}

/** The pending publications with one time-out, in the order of their deadlines. */
class Deadlines {
  readonly #open = new Set<Publication>()
  #timer: Subscription | undefined

  constructor(
    readonly host: PublicationsHost,
    readonly timeout: number,
    /** Called when no publication is pending any more. */
    readonly emptied: () => void,
  ) {}

  add(publication: Publication): void {
    this.#open.add(publication)
    this.#timer ??= this.host.clock.scheduler.schedule(() => this.#expire(), this.timeout)
  }

  delete(publication: Publication): void {
    this.#open.delete(publication)
    // An unused timer would keep the process alive.
    if (this.#open.size > 0) return
    this.#timer?.unsubscribe()
    this.#timer = undefined
    this.emptied()
  }

  fail(error: (publication: Publication) => unknown): void {
    for (const publication of this.#open) publication.fail(error(publication))
  }

  #expire(): void {
    this.#timer = undefined
    for (const publication of this.#open) {
      const left = publication.deadline - this.host.clock.monotonic()
      if (left > 0) return this.#restart(left)
      publication.fail(publication.timedOut(this.timeout, this.host.unreachable()))
    }
  }

  /** Replaces a timer that a publication from within an error handler has started. */
  #restart(delay: number): void {
    this.#timer?.unsubscribe()
    this.#timer = this.host.clock.scheduler.schedule(() => this.#expire(), delay)
  }
}

/** The place of a published record, printable in a log. */
class PublishedPlace extends Readable implements RecordMetadata {
  constructor(
    readonly topic: string,
    readonly partition: number,
    readonly offset: bigint,
  ) {
    super()
  }
}

class Publication {
  readonly #places: RecordMetadata[]
  #left: number
  /** Why a record is not written yet. */
  delay: PublishError | undefined

  constructor(
    readonly records: readonly PublishRecord[],
    readonly deadline: number,
    readonly subscriber: Subscriber<RecordMetadata[]>,
    readonly names: TopicNames,
    /** The operation of `rxmika:publish`, if the channel had a subscriber when the call began. */
    readonly operation: Operation<PublishMessage> | undefined,
  ) {
    this.#left = records.length
    this.#places = new Array(records.length)
  }

  send(publisher: Publisher): void {
    if (this.#left === 0) this.#finish()
    this.records.forEach((record, at) => {
      const topic = this.names.full(record.topic)
      const full = topic === record.topic ? record : { ...record, topic }
      publisher.send(new PublishedRecord(this, full, at))
    })
  }

  written(at: number, { partition, offset }: RecordMetadata): void {
    this.#places[at] = new PublishedPlace(this.records[at]!.topic, partition, offset)
    if (--this.#left === 0) this.#finish()
  }

  refused(error: PublishError, at: number): void {
    // The index, because nobody could find the record in an array of thousands.
    const own = this.records.length === 1 ? error : new PublishError(`publish: record ${at}: ${error.message}`, error)
    this.fail(this.names.inError(own))
  }

  fail(error: unknown): void {
    this.operation?.failed(error)
    ending(() => this.subscriber.error(error))
  }

  /** @param unreachable Why there is no connection, if there is none. */
  timedOut(timeout: number, unreachable: unknown): PublishError {
    const cause = this.delay ?? unreachable
    const topics = topicsOf(this.records)
    const what = `publishing to ${topics.join(', ')} was not acknowledged within ${timeout} ms`
    const message = cause === undefined ? `${what}: no broker has answered` : `${what}: ${messageOf(cause)}`
    return new PublishError(message, { cause, retriable: true, topic: topics[0] })
  }

  #finish(): void {
    this.operation?.succeeded(this.#places)
    this.subscriber.next(this.#places)
    ending(() => this.subscriber.complete())
  }
}

/** One record of a publication. */
class PublishedRecord extends Sending {
  constructor(
    readonly publication: Publication,
    readonly published: PublishRecord,
    readonly at: number,
  ) {
    super()
  }

  get topic(): string {
    return this.published.topic
  }

  get key(): PublishRecord['key'] {
    return this.published.key
  }

  get partition(): number | undefined {
    return this.published.partition
  }

  get wanted(): boolean {
    return !this.publication.subscriber.closed
  }

  record(): ProduceRecord {
    return this.published
  }

  protected settled(result: ProduceResult): void {
    if (result.ok) this.publication.written(this.at, result)
    else this.publication.refused(result.error, this.at)
  }

  abandoned(): void {}

  delayed(error: PublishError): void {
    this.publication.delay = error
  }
}

/** Every topic once. */
function topicsOf(records: readonly PublishRecord[]): string[] {
  return [...new Set(records.map(({ topic }) => topic))]
}
