import { defer, ignoreElements, type Observable, tap } from 'rxjs'
import type { Driver } from '../driver.js'
import {
  ClientClosedError,
  ConfigurationError,
  type RxMikaError,
  TopicAlreadyRegisteredError,
  TopicNotRegisteredError,
} from '../errors.js'
import type { Completed, Failed } from '../failure.js'
import { invalid } from '../options.js'
import { deadLetter } from '../retry/dead-letter.js'
import type { GroupHeaders } from '../retry/headers.js'
import { redeliver } from '../retry/redeliver.js'
import { retryTopic } from '../retry/retry-topic.js'
import type { RoutingClient } from '../routing.js'
import type { Assignment, Reading } from './assignment.js'
import type { DecodedTopicOptions, RecordStream, TopicOptions } from './client.js'
import { type Config, topicName } from './config.js'
import type { Counters } from './counters.js'
import type { DlqReplays } from './dlq-replay.js'
import type { FailureRoute } from './failure-route.js'
import type { Failures } from './failures.js'
import { DlqReading, RetryReading, type SharedTopics, TopicReading } from './readings.js'
import type { Reports } from './reports.js'
import type { TopicNames } from './topic-names.js'
import { configureTopic, defaultMaxInFlight, type TopicConfig } from './topic-options.js'
import { type StreamEnd, TopicStream } from './topic-stream.js'
import type { WallClock } from './wall-clock.js'

export interface TopicsHost {
  readonly config: Config
  readonly names: TopicNames
  readonly reports: Reports
  readonly counters: Counters
  readonly failures: Failures
  readonly driver: Driver
  readonly replays: DlqReplays
  readonly wallClock: WallClock
  readonly ownHeaders: GroupHeaders | undefined
  readonly life: { readonly closing: boolean }
  /** What the steps of default routes are made with. */
  readonly client: RoutingClient
  /** What is assigned now. */
  assignments(): Iterable<Assignment>
}

/** What a client reads: the registered topics, each with its stream and its route, and the shared retry and DLQ topics. */
export class Topics {
  /** By full name. */
  readonly #streams = new Map<string, TopicStream>()
  /** By full name; from `share` on the retry and DLQ topics are among them. */
  readonly #readings = new Map<string, Reading>()
  /** Of records whose topic is not registered here. They are read from the retry and DLQ topics, which have no keyFence. */
  readonly #orphans: FailureRoute

  constructor(readonly host: TopicsHost) {
    this.#orphans = host.failures.route({ name: 'not registered', keepsPlaces: false }, () =>
      host.config.dlqTopic === undefined ? held => held : deadLetter(host.client),
    )
  }

  /** @throws TopicAlreadyRegisteredError; ClientClosedError; ConfigurationError */
  register<T>(name: string, options: TopicOptions & Partial<DecodedTopicOptions<T>>): RecordStream<T | Buffer | null> {
    const { config, reports, failures } = this.host
    if (name === undefined) throw invalid('topic', name, 'must be a non-empty string')
    const fullName = topicName('topic', name, config.suffix)!
    if (this.#streams.has(fullName)) throw new TopicAlreadyRegisteredError(name)
    if (this.host.life.closing) throw new ClientClosedError(`topic '${name}' is registered on a client that closes`)
    if (reports.currentState !== 'idle') {
      throw new ConfigurationError(`topic '${name}' is registered after start(); register every topic before it`)
    }
    if (fullName === config.retryTopic || fullName === config.dlqTopic) {
      throw new ConfigurationError(
        `topic '${name}' is the client's ${fullName === config.dlqTopic ? 'dlqTopic' : 'retryTopic'}`,
      )
    }
    const topic = configureTopic(name, options, config)
    const keepsPlaces = topic.keyFence !== undefined
    const route = failures.route({ name, keepsPlaces }, () => this.#stepsOf(topic))
    const stream = new TopicStream(name, route, () => this.host.assignments())
    this.#streams.set(fullName, stream)
    // From now on it is listed, with nothing.
    this.host.counters.of(name)
    this.#readings.set(fullName, new TopicReading(stream, topic.maxInFlight, topic.batch, topic.keyFence))
    return topic.decode === undefined ? stream.records : stream.records.through(topic.decode)
  }

  #stepsOf({ onFail, retries, backoff, dlq, keyFence }: TopicConfig<unknown>) {
    const { client } = this.host
    if (onFail !== undefined) return onFail
    const tryAgain = () =>
      keyFence === undefined
        ? retryTopic(client, { retries, backoff })
        : redeliver(client, { attempts: retries + 1, backoff })
    const again = retries > 0 ? tryAgain() : undefined
    const dead = dlq ? deadLetter(client) : undefined
    return (failures: Observable<Failed>): Observable<Failed | Completed> => {
      const tried = again === undefined ? failures : again(failures)
      return dead === undefined ? tried : dead(tried)
    }
  }

  /** Adds the retry and DLQ topics, which are read like any other; what is on them is for the registered topics' streams. */
  share(): void {
    const { config, reports, names, wallClock, ownHeaders: headers, replays } = this.host
    if (headers === undefined) return
    const shared: SharedTopics = {
      headers,
      reports,
      names,
      maxInFlight: defaultMaxInFlight,
      wallClock,
      stream: topic => this.#streams.get(topic),
      orphans: this.#orphans,
    }
    if (config.retryTopic !== undefined) this.#readings.set(config.retryTopic, new RetryReading(shared))
    if (config.dlqTopic !== undefined) this.#readings.set(config.dlqTopic, new DlqReading(shared, replays))
  }

  /** Completes when all of them exist. */
  existing(): Observable<never> {
    return defer(() => {
      const topics = this.read
      return this.host.driver.topics(topics).pipe(tap(known => this.#checkKnown(topics, known)))
    }).pipe(ignoreElements())
  }

  #checkKnown(topics: readonly string[], known: ReadonlyMap<string, number>): void {
    const missing = topics.filter(topic => !known.has(topic))
    if (missing.length === 0) return
    throw new ConfigurationError(
      `topic ${missing.map(topic => this.host.names.shown(topic)).join(', ')} does not exist, and the broker does not create it`,
    )
  }

  /** How many are registered. */
  get size(): number {
    return this.#streams.size
  }

  /** Every stream was ended by an error, and nobody has subscribed again: nothing can be delivered. */
  get areOver(): boolean {
    return this.size > 0 && [...this.#streams.values()].every(({ failed }) => failed)
  }

  /** Full names of everything that is read. */
  get read(): string[] {
    return [...this.#readings.keys()]
  }

  /** How a topic is read, by its full name; undefined if it is not. */
  reading(topic: string): Reading | undefined {
    return this.#readings.get(topic)
  }

  pause(topic: string): void {
    if (this.#named(topic).pause()) this.host.reports.event({ type: 'paused', topic })
  }

  resume(topic: string): void {
    const stream = this.#named(topic)
    // What is held goes on before anything new can fail.
    this.host.failures.resumed(topic)
    // Said before it is so: what goes on may fail, and a breaker may pause the topic again.
    if (stream.resume()) this.host.reports.event({ type: 'resumed', topic })
    stream.route.resume()
    // Records that no registered topic is for stand on partitions that all topics share.
    this.#orphans.resume()
    for (const assignment of this.host.assignments()) assignment.drainSoon()
  }

  /** Which topics, by their full names, are meant by what a user names. @throws TopicNotRegisteredError */
  concerned(topic: string): (fullName: string) => boolean {
    this.#named(topic)
    const name = this.host.names.full(topic)
    return fullName => fullName === name
  }

  #named(topic: string): TopicStream {
    const stream = this.#streams.get(this.host.names.full(topic))
    if (stream === undefined) throw new TopicNotRegisteredError(topic)
    return stream
  }

  /** A topic cannot be read for now: an error of its own stream alone. Of the retry and DLQ topics, which have none, it is reported. */
  unreadable(topic: string, cause: RxMikaError): void {
    const { reports, names } = this.host
    reports.error(cause)
    this.#streams.get(topic)?.interrupt(names.inError(cause))
  }

  /** No more records come: completes the streams, or errors them. */
  endStreams(end: StreamEnd): void {
    for (const stream of this.#streams.values()) stream.end(end)
  }

  /** Has every route forget the records whose assignment has ended. */
  forgetEnded(): void {
    for (const { route } of this.#streams.values()) route.forgetEnded()
    this.#orphans.forgetEnded()
  }

  endRoutes(): void {
    for (const { route } of this.#streams.values()) route.end()
    this.#orphans.end()
  }
}
