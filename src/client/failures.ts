import { catchError, type Observable, type OperatorFunction, ReplaySubject, tap, throwError } from 'rxjs'
import { type ClientMessage, Operation, type PublishMessage, publishChannel } from '../channels.js'
import type { Clock } from '../clock.js'
import {
  ConfigurationError,
  type FloodError,
  isRxMikaError,
  type PublishError,
  type RxMikaError,
  UnroutableFailureError,
} from '../errors.js'
import type { ClientEvent } from '../events.js'
import type { Completed, Failed } from '../failure.js'
import { partitionName, placeNameOf } from '../place.js'
import type { ProduceResult } from '../produce-result.js'
import type { ProduceRecord, RecordMetadata } from '../publish.js'
import { type DeliveredRecord, deliveryOf } from '../record.js'
import { recordPlace } from '../record-place.js'
import { Concessions } from '../retry/concessions.js'
import { messageOf, summaryOf } from '../retry/reason.js'
import { type CopyObserver, type RouteTopic, type Routing, routingContract } from '../routing.js'
import type { Assignment } from './assignment.js'
import type { Config } from './config.js'
import { FailureRoute } from './failure-route.js'
import { type Publisher, Sending } from './publisher.js'
import type { Reports } from './reports.js'
import type { TopicNames } from './topic-names.js'

export interface FailuresHost {
  readonly identity: ClientMessage
  readonly names: TopicNames
  readonly publisher: Publisher
  readonly reports: Reports
  pause(topic: string): void
  /** Closes the client with this error. */
  closeBy(error: RxMikaError): void
}

const noStep =
  'No step of its route took it: set retries or dlq: true for its topic, or an onFail that ends in a step; or see why a copy was ' +
  'refused, in the error before this one'

/** The shortest time between two reports of the same refusal, ms. */
const refusalInterval = 1_000

/** The failed records of one client, as the steps of failure routes use it. */
export class Failures implements Routing {
  readonly contract = routingContract
  readonly group
  readonly retryTopic
  readonly dlqTopic
  building: RouteTopic | undefined
  /** By topic as users name it: emits when a topic that a breaker paused is resumed. */
  readonly #tripped = new Map<string, ReplaySubject<void>>()
  /** When a refusal of a copy, by its message, was last reported. */
  readonly #refusalsReported = new Map<string, number>()

  constructor(
    { group, retryTopic, dlqTopic }: Config,
    readonly clock: Clock,
    readonly host: FailuresHost,
  ) {
    this.group = group
    this.retryTopic = retryTopic
    this.dlqTopic = dlqTopic
  }

  /**
   * Makes the route of a topic's failed records, and builds its steps.
   *
   * @param made Makes the steps. They may read `building`, to refuse a topic that they do not fit.
   * @throws ConfigurationError naming the topic if the steps throw when they are made or built.
   */
  route(topic: RouteTopic, made: () => OperatorFunction<Failed, Failed | Completed>): FailureRoute {
    const outer = this.building
    this.building = topic
    try {
      return new FailureRoute(
        made(),
        (failed, cause) => this.unroutable(failed, cause),
        ({ record, attempt, reason }) => {
          this.event({ type: 'discarded', ...recordPlace(record), attempt, reason })
        },
      )
    } catch (cause) {
      const what = isRxMikaError(cause, 'RXMIKA_CONFIGURATION') ? '' : 'its failure route cannot be built: '
      throw new ConfigurationError(`topic '${topic.name}': ${what}${messageOf(cause)}`, { cause })
    } finally {
      this.building = outer
    }
  }

  fullName(topic: string): string {
    return this.host.names.full(topic)
  }

  // ── Copies ───────────────────────────────────────────────────────────────────────────────────────────────────────

  publishCopy(topic: string, failed: Failed, observer: CopyObserver): void {
    const { identity, names, publisher } = this.host
    const operation = publishChannel.hasSubscribers
      ? copyOperation(identity, names.user(topic), deliveryOf(failed.record)!)
      : undefined
    operation?.run(() => {})
    publisher.send(new Copying(this, topic, failed, observer, operation))
  }

  /** The broker refused a copy for good. */
  copyRefused(error: PublishError): void {
    this.host.reports.error(error)
  }

  /** A copy was dropped because it is no longer wanted. */
  copyAbandoned(failed: Failed): void {
    if (deliveryOf(failed.record)!.owner.ended) this.#leaveRoute(failed)
  }

  /** A copy is delayed, and will be tried again. */
  copyDelayed(error: PublishError, lasting: boolean): void {
    if (lasting) this.#reportRefusal(error)
  }

  /**
   * Publishes the record again at the end of its partition, byte for byte. It is compressed, or gets the present time, only
   * if the topic refuses it otherwise.
   */
  writeBack(record: DeliveredRecord): Observable<RecordMetadata> {
    const { owner, batch, index } = record
    const { topic, partition } = (owner as Assignment).handle
    const operation = publishChannel.hasSubscribers ? copyOperation(this.host.identity, owner.topic, record) : undefined
    operation?.run(() => {})
    const [key, value, headers] = [batch.key(index), batch.value(index), batch.headers(index)]
    const without = new Concessions()
    const write = (): Observable<RecordMetadata> => {
      const timestamp = without.timestamp(batch.timestamp(index), this.clock)
      const { compression } = without
      return this.host.publisher
        .publish(
          { topic, partition, key, value, headers, timestamp, compression },
          { wanted: () => !owner.ended, delayed: (error, lasting) => this.copyDelayed(error, lasting) },
        )
        .pipe(catchError(error => (!owner.ended && without.concede(error) ? write() : throwError(() => error))))
    }
    return write().pipe(
      tap({
        next: place => operation?.succeeded([{ ...place, topic: owner.topic }]),
        error: error => {
          operation?.failed(error)
          this.host.reports.error(error)
        },
        finalize: () => operation?.cancelled(),
      }),
    )
  }

  /** A broker that is away refuses every copy again and again. This is reported once a second and not once per record. */
  #reportRefusal(error: PublishError): void {
    const now = this.clock.monotonic()
    if (now - (this.#refusalsReported.get(error.message) ?? Number.NEGATIVE_INFINITY) < refusalInterval) return
    if (this.#refusalsReported.size > 100) this.#refusalsReported.clear()
    this.#refusalsReported.set(error.message, now)
    this.host.reports.error(error)
  }

  // ── Without copies ───────────────────────────────────────────────────────────────────────────────────────────────

  keepsItsPlace(failed: Failed): boolean {
    return ownerOf(failed).reading.keyFence !== undefined
  }

  fenceIsFull(failed: Failed): RxMikaError | undefined {
    const owner = ownerOf(failed)
    const maxKeys = owner.fullFenceOf(deliveryOf(failed.record)!)
    if (maxKeys === undefined) return undefined
    return new ConfigurationError(
      `${maxKeys} keys of ${partitionName(owner)} have a dead letter, and its keyFence may hold no more; ` +
        "raise maxKeys, or use afterDeadLetter: 'continue', which holds none. A restart removes the fences",
    )
  }

  redeliver(failed: Failed, delay: number): void {
    const owner = ownerOf(failed)
    const record = this.#leaveRoute(failed)
    owner.countsOf(record).retried++
    owner.redeliver(record, delay)
  }

  unroutable(failed: Failed, cause: unknown): void {
    const record = this.#leaveRoute(failed)
    if (record.owner.ended) return
    const { topic, partition, offset } = record.source
    const owner = ownerOf(failed)
    owner.hold(record, 'unroutable')
    if (record.phase === 'unroutable') owner.reading.routeOf(record).park(failed)
    const why =
      cause === undefined
        ? noStep
        : `${messageOf(cause)}. When the cause is gone, resume() sends it down its route again`
    this.host.reports.error(
      new UnroutableFailureError(
        topic,
        partition,
        offset,
        `the record at ${placeNameOf(recordPlace(record))} failed by ${summaryOf(failed.reason)}. It is unroutable and held; commits of ` +
          `its partition stop there. ${why}`,
        { cause: cause ?? failed.reason },
      ),
    )
  }

  hold(failed: Failed): void {
    ownerOf(failed).hold(deliveryOf(failed.record)!, 'held')
  }

  release(failed: Failed): boolean {
    return ownerOf(failed).release(deliveryOf(failed.record)!)
  }

  #leaveRoute(failed: Failed): DeliveredRecord {
    const record = deliveryOf(failed.record)!
    ownerOf(failed).reading.routeOf(record).forget(record)
    return record
  }

  // ── The whole topic, the whole client ────────────────────────────────────────────────────────────────────────────

  trip(error: FloodError): Observable<void> {
    const { topic, failures, within } = error
    const before = this.#tripped.get(topic)
    if (before !== undefined) return before
    // Replayed, because a subscriber of what follows may resume the topic at once.
    const resumed = new ReplaySubject<void>()
    this.#tripped.set(topic, resumed)
    this.host.pause(topic)
    this.event({ type: 'tripped', topic, failures, within })
    this.host.reports.error(error)
    return resumed
  }

  /** As users name them. */
  get trippedTopics(): string[] {
    return [...this.#tripped.keys()]
  }

  /** Releases the records that a breaker holds of the topic. */
  resumed(topic: string): void {
    const tripped = this.#tripped.get(topic)
    this.#tripped.delete(topic)
    tripped?.next()
    tripped?.complete()
  }

  halt(error: RxMikaError): void {
    this.host.closeBy(error)
  }

  // ── Reporting ────────────────────────────────────────────────────────────────────────────────────────────────────

  get observed(): boolean {
    return this.host.reports.observed
  }

  event(event: ClientEvent): void {
    this.host.reports.event(event)
  }
}

function copyOperation(identity: ClientMessage, topic: string, copyOf: DeliveredRecord): Operation<PublishMessage> {
  return new Operation<PublishMessage>(publishChannel, { ...identity, records: [], topics: [topic], copyOf })
}

function ownerOf({ record }: Failed): Assignment {
  return deliveryOf(record)!.owner as Assignment
}

/** A copy in flight. */
class Copying extends Sending {
  readonly #record: DeliveredRecord

  constructor(
    readonly failures: Failures,
    readonly topic: string,
    readonly failed: Failed,
    readonly observer: CopyObserver,
    /** The operation of `rxmika:publish`, if the channel had a subscriber when the copy was sent. */
    readonly operation: Operation<PublishMessage> | undefined,
  ) {
    super()
    this.#record = deliveryOf(failed.record)!
  }

  get key(): Buffer | null {
    return this.#record.key
  }

  /** Chosen by the key. */
  get partition(): undefined {
    return undefined
  }

  get wanted(): boolean {
    return this.observer.wanted && !this.#record.owner.ended
  }

  record(): ProduceRecord {
    return this.observer.copy()
  }

  protected settled(result: ProduceResult): void {
    if (!result.ok) {
      if (this.wanted && this.observer.concede(result.error)) return this.failures.host.publisher.send(this)
      this.operation?.failed(result.error)
      this.failures.copyRefused(result.error)
    } else if (this.operation !== undefined) {
      const { partition, offset } = result
      this.operation.succeeded([{ topic: this.operation.message.topics[0]!, partition, offset }])
    }
    this.observer.settle(result)
  }

  abandoned(): void {
    this.operation?.cancelled()
    this.failures.copyAbandoned(this.failed)
    this.observer.settle(undefined)
  }

  delayed(error: PublishError, lasting: boolean): void {
    this.failures.copyDelayed(error, lasting)
  }
}
