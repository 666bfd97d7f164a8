import { catchError, concat, defer, EMPTY, ignoreElements, map, merge, Observable, tap } from 'rxjs'
import type { Driver } from '../driver.js'
import {
  ClientClosedError,
  ConfigurationError,
  isRxMikaError,
  type RxMikaError,
  TopicAlreadyRegisteredError,
  TopicNotRegisteredError,
} from '../errors.js'
import type { Completed, Failed } from '../failure.js'
import { deadLetter } from '../retry/dead-letter.js'
import type { GroupHeaders } from '../retry/headers.js'
import { redeliver } from '../retry/redeliver.js'
import { retryTopic } from '../retry/retry-topic.js'
import type { RoutingClient } from '../routing.js'
import type { Assignment, Reading } from './assignment.js'
import type { DecodedTopicOptions, RecordStream, TopicOptions, TopicSelection } from './client.js'
import type { Config } from './config.js'
import type { Counters } from './counters.js'
import type { DlqReplays } from './dlq-replay.js'
import type { FailureRoute } from './failure-route.js'
import type { Failures } from './failures.js'
import { DlqReading, RetryReading, type SharedTopics, TopicReading } from './readings.js'
import { Registration, type Selection, select } from './registration.js'
import type { Reports } from './reports.js'
import { StreamTopic } from './stream-topic.js'
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
  readonly life: {
    readonly closing: boolean
    /** Completes when a broker answers. */
    readonly connected: Observable<never>
    /** Stays subscribed to the work until the client closes. */
    during(work: Observable<unknown>): void
  }
  /** The client that the steps of default routes are made with. */
  readonly client: RoutingClient
  /** The topics to read have changed. */
  changed(): void
  /** The current assignments. */
  assignments(): Iterable<Assignment>
}

/** What a client reads: registered topics with their streams and routes, and the shared retry and DLQ topics. */
export class Topics {
  readonly #registrations: Registration[] = []
  /** Registrations by the full names that they list. */
  readonly #named = new Map<string, Registration>()
  /** By full name. After `share`, this includes the retry and DLQ topics. */
  readonly #readings = new Map<string, Reading>()
  /** Full names of the topics to read: those that exist, as far as is known. */
  readonly #toRead = new Set<string>()
  /** The route of records on the retry and DLQ topics whose topic is not registered here. */
  readonly #orphans: FailureRoute
  /** Registrations made before the start, which are looked up when reading begins. Undefined after the start. */
  #early: Registration[] | undefined = []

  constructor(readonly host: TopicsHost) {
    this.#orphans = host.failures.route({ name: 'not registered', keepsPlaces: false }, () =>
      host.config.dlqTopic === undefined ? held => held : deadLetter(host.client),
    )
  }

  // ── Registering ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws TopicAlreadyRegisteredError; ClientClosedError; ConfigurationError */
  register<T>(
    what: TopicSelection,
    options: TopicOptions & Partial<DecodedTopicOptions<T>>,
  ): RecordStream<T | Buffer | null> {
    const { config, names, life } = this.host
    const selection = select(what, names)
    this.#checkFree(selection)
    if (life.closing)
      throw new ClientClosedError(
        `topic '${selection.label}' is registered on a client that closes; make another client`,
      )
    const topic = configureTopic(selection.label, options, config)
    const stream = new TopicStream(selection.label, () => this.host.assignments())
    const registration = new Registration(selection, topic, stream)
    // Build the routes first, because that may throw.
    const { label } = selection
    const seen = selection.names?.map(full => [full, this.#topicOf(registration, names.user(full))] as const)
    if (seen === undefined) registration.others = this.#topicOf(registration, label)
    this.#registrations.push(registration)
    for (const [full, each] of seen ?? []) {
      this.#named.set(full, registration)
      this.#add(registration, full, each)
    }
    if (this.#early === undefined) this.#lookUp(registration, error => this.#withdraw(registration, error))
    else {
      this.#early.push(registration)
      if (selection.isOne) this.#toRead.add(selection.names![0]!)
    }
    return topic.decode === undefined ? stream.records : stream.records.through(topic.decode)
  }

  #checkFree({ names, label, key }: Selection): void {
    const { config } = this.host
    for (const full of names ?? []) {
      const name = this.host.names.user(full)
      if (this.#registrationOf(full) !== undefined) throw new TopicAlreadyRegisteredError(name)
      if (full !== config.retryTopic && full !== config.dlqTopic) continue
      throw new ConfigurationError(
        `topic '${name}' is the client's ${full === config.dlqTopic ? 'dlqTopic' : 'retryTopic'}`,
      )
    }
    if (this.#registrations.some(({ selection }) => selection.key === key)) throw new TopicAlreadyRegisteredError(label)
  }

  #topicOf({ config, stream }: Registration, name: string): StreamTopic {
    const keepsPlaces = config.keyFence !== undefined
    return new StreamTopic(
      name,
      stream,
      this.host.failures.route({ name, keepsPlaces }, () => this.#stepsOf(config)),
    )
  }

  /** From now on, records of the topic go to the registration's stream. */
  #add(registration: Registration, full: string, topic: StreamTopic): void {
    const { maxInFlight, batch, keyFence } = registration.config
    topic.paused = registration.isPaused(full)
    registration.topics.set(full, topic)
    // So that metrics list the topic from now on.
    this.host.counters.of(topic.name)
    this.#readings.set(full, new TopicReading(topic, maxInFlight, batch, keyFence))
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

  /** Adds the retry and DLQ topics. They are read like other topics; their records go to the streams of registered topics. */
  share(): void {
    const { config, reports, names, wallClock, ownHeaders: headers, replays } = this.host
    if (headers === undefined) return
    const shared: SharedTopics = {
      headers,
      reports,
      names,
      maxInFlight: defaultMaxInFlight,
      wallClock,
      stream: topic => this.#streamTopic(topic),
      orphans: this.#orphans,
    }
    const add = (topic: string, reading: Reading) => {
      this.#readings.set(topic, reading)
      this.#toRead.add(topic)
    }
    if (config.retryTopic !== undefined) add(config.retryTopic, new RetryReading(shared))
    if (config.dlqTopic !== undefined) add(config.dlqTopic, new DlqReading(shared, replays))
  }

  #streamTopic(full: string): StreamTopic | undefined {
    const registration = this.#registrationOf(full)
    return registration?.topics.get(full) ?? registration?.others
  }

  /** The registration of a topic: the one that lists it by name, or else the first that matches it. */
  #registrationOf(full: string): Registration | undefined {
    const named = this.#named.get(full)
    if (named !== undefined) return named
    const { retryTopic, dlqTopic } = this.host.config
    if (full === retryTopic || full === dlqTopic) return undefined
    return this.#registrations.find(({ selection }) => selection.has(full))
  }

  // ── Which topics exist ───────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Called at the start. From now on, a newly registered topic that does not exist errors its own stream.
   *
   * @returns completes once all topics registered by a single name exist and all other registrations were looked up. Errors
   *   with a `ConfigurationError` if one does not exist.
   */
  begin(): Observable<never> {
    const others = this.#early?.filter(({ selection }) => !selection.isOne) ?? []
    this.#early = undefined
    return defer(() => {
      const named = this.read
      const known = this.host.driver.topics(named).pipe(tap(known => this.#checkKnown(named, known)))
      return merge(known.pipe(ignoreElements()), ...others.map(each => this.#firstLook(each)))
    })
  }

  #firstLook(registration: Registration): Observable<never> {
    return new Observable(subscriber => {
      this.#lookUp(
        registration,
        error => subscriber.error(error),
        () => subscriber.complete(),
      )
    })
  }

  #checkKnown(topics: readonly string[], known: ReadonlyMap<string, number>): void {
    const missing = topics.filter(topic => !known.has(topic))
    if (missing.length > 0) throw this.#missing(missing)
  }

  #missing(topics: readonly string[]): ConfigurationError {
    const shown = topics.map(topic => this.host.names.shown(topic)).join(', ')
    return new ConfigurationError(`topic ${shown} does not exist, and the broker does not create it`)
  }

  /**
   * Looks up the registration's topics, and follows changes until the client closes.
   *
   * @param failed Called if the lookup fails for good.
   * @param lookedUp Called after the first lookup.
   */
  #lookUp(registration: Registration, failed: (error: unknown) => void, lookedUp?: () => void): void {
    const { driver, life } = this.host
    const { names, isOne } = registration.selection
    const found = (topics: readonly string[]) => {
      this.#found(registration, topics)
      lookedUp?.()
    }
    // The broker may create missing topics that are listed by name, which takes time.
    const created = names === undefined ? EMPTY : driver.topics(names).pipe(map(known => [...known.keys()]))
    const work = isOne
      ? created.pipe(
          tap(known => {
            if (known.length === 0) throw this.#missing(names!)
            this.#found(registration, known)
          }),
        )
      : merge(created.pipe(tap(known => this.#include(registration, known))), driver.topicNames(names).pipe(tap(found)))
    life.during(
      concat(life.connected, work).pipe(
        catchError(error => {
          failed(error)
          return EMPTY
        }),
      ),
    )
  }

  /** `topics` are all existing topics of the registration, or all existing topics. */
  #found(registration: Registration, topics: readonly string[]): void {
    const existing = new Set(topics.filter(topic => this.#registrationOf(topic) === registration))
    registration.atFirst ??= new Set(existing)
    const known = [...registration.topics.keys()]
    const removed = known.filter(topic => !existing.has(topic) && this.#remove(registration, topic))
    if (!this.#include(registration, [...existing]) && removed.length > 0) this.host.changed()
  }

  /** The topic does not exist any more. Returns whether that is new. */
  #remove(registration: Registration, topic: string): boolean {
    // A later topic of the same name is a different topic.
    registration.atFirst?.delete(topic)
    return this.#toRead.delete(topic)
  }

  /** These topics exist too. Returns whether that is new. */
  #include(registration: Registration, topics: readonly string[]): boolean {
    const added = topics.filter(topic => !this.#toRead.has(topic))
    for (const topic of added) {
      if (!registration.topics.has(topic)) {
        this.#add(registration, topic, this.#topicOf(registration, this.host.names.user(topic)))
      }
      this.#toRead.add(topic)
    }
    if (added.length > 0) this.host.changed()
    return added.length > 0
  }

  /** Whether a topic that was not registered by a single name was created after the first lookup. */
  cameLater(full: string): boolean {
    const registration = this.#registrationOf(full)
    return registration?.atFirst?.has(full) === false && !registration.selection.isOne
  }

  /** The lookup failed after the start, which does not close the client: its stream errors, and its names are free again. */
  #withdraw(registration: Registration, error: unknown): void {
    const { reports } = this.host
    if (isRxMikaError(error)) reports.error(error)
    this.#registrations.splice(this.#registrations.indexOf(registration), 1)
    let wasRead = false
    for (const full of registration.topics.keys()) {
      this.#named.delete(full)
      this.#readings.delete(full)
      if (this.#toRead.delete(full)) wasRead = true
    }
    for (const { route } of registration.all) route.end()
    // Some of its topics may have been found. They are given back: whoever registers one again joins it anew.
    if (wasRead) this.host.changed()
    registration.stream.end({ error })
  }

  /** A topic cannot be read for now. */
  unreadable(topic: string, cause: RxMikaError, isGone: boolean): void {
    const { reports, names } = this.host
    const registration = this.#registrationOf(topic)
    const isFound = registration !== undefined && !registration.selection.isOne
    if (isFound && isGone) {
      // A topic of a list or a pattern leaves the stream without an error.
      if (this.#remove(registration, topic)) this.host.changed()
      return
    }
    reports.error(cause)
    // Error its own stream only. A retry or DLQ topic has no stream, and one topic of many must not error the others.
    if (!isFound) registration?.stream.interrupt(names.inError(cause))
  }

  /** How many registrations there are. */
  get size(): number {
    return this.#registrations.length
  }

  /** True: an error ended every stream, and none was subscribed to again. Nothing can be delivered. */
  get areOver(): boolean {
    return this.size > 0 && this.#registrations.every(({ stream }) => stream.failed)
  }

  /** Full names of the topics to read now. */
  get read(): string[] {
    return [...this.#toRead]
  }

  /** How a topic, by its full name, is read; undefined if it is not. */
  reading(topic: string): Reading | undefined {
    return this.#readings.get(topic)
  }

  // ── Pause and resume ─────────────────────────────────────────────────────────────────────────────────────────────

  pause(what: TopicSelection): void {
    const { registration, one } = this.#selected(what)
    const paused = one === undefined ? registration.pauseAll(true) : registration.pauseOne(one, true)
    for (const { name } of paused) this.host.reports.event({ type: 'paused', topic: name })
  }

  resume(what: TopicSelection): void {
    const { failures, reports } = this.host
    const { registration, one } = this.#selected(what)
    // Held records go on before any new record can fail.
    for (const name of this.#namesOf(registration, one)) failures.resumed(name)
    const resumed = one === undefined ? registration.pauseAll(false) : registration.pauseOne(one, false)
    for (const { name } of resumed) {
      // Emitted before the topic resumes: its records may fail, and a breaker may pause it again.
      reports.event({ type: 'resumed', topic: name })
    }
    const { all, topics, others } = registration
    for (const topic of all) {
      if (one === undefined || topic === topics.get(one) || topic === others) topic.route.resume()
    }
    // Records of unregistered topics are in partitions that all topics share.
    this.#orphans.resume()
    for (const assignment of this.host.assignments()) assignment.drainSoon()
  }

  /** Tells which topics, by their full names, a user's selection means. @throws TopicNotRegisteredError */
  concerned(what: TopicSelection): (fullName: string) => boolean {
    const { registration, one } = this.#selected(what)
    return fullName => (one === undefined ? this.#registrationOf(fullName) === registration : fullName === one)
  }

  /** As users name them. */
  #namesOf(registration: Registration, one: string | undefined): string[] {
    const { names, failures } = this.host
    if (one !== undefined) return [names.user(one)]
    const tripped = failures.trippedTopics.filter(name => this.#registrationOf(names.full(name)) === registration)
    return [...new Set([...registration.topics.values()].map(({ name }) => name).concat(tripped))]
  }

  #selected(what: TopicSelection): { readonly registration: Registration; readonly one: string | undefined } {
    const one = typeof what === 'string' ? this.host.names.full(what) : undefined
    if (one !== undefined) {
      const registration = this.#registrationOf(one)
      if (registration !== undefined) return { registration, one }
      throw new TopicNotRegisteredError(what as string)
    }
    const { key, label } = select(what, this.host.names)
    const registration = this.#registrations.find(({ selection }) => selection.key === key)
    if (registration === undefined) throw new TopicNotRegisteredError(label)
    return { registration, one }
  }

  /** No more records come: completes or errors the streams. */
  endStreams(end: StreamEnd): void {
    for (const { stream } of this.#registrations) stream.end(end)
  }

  /** Removes the records whose assignment has ended from every route. */
  forgetEnded(): void {
    for (const { all } of this.#registrations) for (const { route } of all) route.forgetEnded()
    this.#orphans.forgetEnded()
  }

  endRoutes(): void {
    for (const { all } of this.#registrations) for (const { route } of all) route.end()
    this.#orphans.end()
  }
}
