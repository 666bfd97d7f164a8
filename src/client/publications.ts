import { Observable, type Subscriber, type Subscription, type TeardownLogic } from 'rxjs'
import { type ClientMessage, Operation, type PublishMessage, publishChannel } from '../channels.js'
import type { Clock } from '../clock.js'
import { ClientClosedError, PublishError } from '../errors.js'
import type { ProduceResult } from '../produce-result.js'
import type { ProduceRecord, PublishRecord, RecordMetadata } from '../publish.js'
import { Readable } from '../readable.js'
import { messageOf } from '../retry/reason.js'
import { type Publisher, Sending } from './publisher.js'
import type { TopicNames } from './topic-names.js'

export interface PublicationsHost {
  readonly identity: ClientMessage
  readonly publisher: Publisher
  readonly names: TopicNames
  readonly clock: Clock
  /** Why the brokers cannot be reached; undefined: they can, or it is not known yet. */
  unreachable(): unknown
  /** Completes once publishing is possible, errors when it never will be. */
  readonly connected: Observable<never>
  /** Called when a publication has ended. */
  ended(): void
}

/**
 * The open calls of `publish`: each ends by itself, at its deadline, or with the client.
 *
 * There may be tens of thousands at once, so none has a timer or a subscription of its own: those with one timeout end in
 * the order they began, and one timer does for all of them.
 */
export class Publications {
  readonly #byTimeout = new Map<number, Lasting>()
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
      // Only told: what is begun here, a connection perhaps, lives longer than this call, and is not to be within it.
      operation.run(() => {})
      const told = operation.message.records
      // More headers are what a listener may give them, and nothing else.
      const own = records.map((record, at) => {
        const headers = told[at]?.headers
        return headers === record.headers ? record : { ...record, headers }
      })
      return this.#begin(told === records ? records : own, timeout, subscriber, operation)
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
    const lasting = this.#lasting(timeout)
    // Counted while it waits for the connection, too: a close waits for it in any case.
    this.#open++
    lasting.add(publication)
    subscriber.add(() => {
      operation?.cancelled()
      this.#open--
      lasting.delete(publication)
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
    for (const lasting of this.#byTimeout.values()) lasting.fail(() => new ClientClosedError())
  }

  #lasting(timeout: number): Lasting {
    let lasting = this.#byTimeout.get(timeout)
    if (lasting === undefined) {
      // Forgotten with the last that is open: callers may give a time-out that no other call has.
      lasting = new Lasting(this.host, timeout, () => this.#byTimeout.delete(timeout))
      this.#byTimeout.set(timeout, lasting)
    }
    return lasting
  }
}

/** The open publications of one timeout, in the order of their deadlines. */
class Lasting {
  readonly #open = new Set<Publication>()
  #timer: Subscription | undefined

  constructor(
    readonly host: PublicationsHost,
    readonly timeout: number,
    /** None is open any more. */
    readonly emptied: () => void,
  ) {}

  add(publication: Publication): void {
    this.#open.add(publication)
    this.#timer ??= this.host.clock.scheduler.schedule(() => this.#expire(), this.timeout)
  }

  delete(publication: Publication): void {
    this.#open.delete(publication)
    // A timer that nobody needs would keep the process.
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

  /** Whoever published again from within an error has started a timer already. */
  #restart(delay: number): void {
    this.#timer?.unsubscribe()
    this.#timer = this.host.clock.scheduler.schedule(() => this.#expire(), delay)
  }
}

/** A place as users get it: it reads well in a log. */
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
  /** Why it is not written yet. */
  delay: PublishError | undefined

  constructor(
    readonly records: readonly PublishRecord[],
    readonly deadline: number,
    readonly subscriber: Subscriber<RecordMetadata[]>,
    readonly names: TopicNames,
    /** As `rxmika:publish` has it, if anybody listened when it began. */
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

  refused(error: PublishError): void {
    this.fail(this.names.inError(error))
  }

  fail(error: unknown): void {
    this.operation?.failed(error)
    this.subscriber.error(error)
  }

  /** @param unreachable Why there is no connection, where there is none. */
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
    this.subscriber.complete()
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
    else this.publication.refused(result.error)
  }

  abandoned(): void {}

  delayed(error: PublishError): void {
    this.publication.delay = error
  }
}

/** Each once. */
function topicsOf(records: readonly PublishRecord[]): string[] {
  return [...new Set(records.map(({ topic }) => topic))]
}
