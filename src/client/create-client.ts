import type { InspectOptions } from 'node:util'
import { concat, defer, EMPTY, merge, NEVER, type Observable, tap, throwError } from 'rxjs'
import { type Onlooker, onlooker } from '../channels.js'
import { type Clock, clockOf } from '../clock.js'
import type { Driver } from '../driver.js'
import { kafkaDriver } from '../drivers/kafka/index.js'
import { ConfigurationError, DlqNotConfiguredError, type RxMikaError } from '../errors.js'
import type { ClientState, Place, Stall, StallsOptions } from '../events.js'
import type { ClientHealth, ClientMetrics } from '../metrics.js'
import { invalid } from '../options.js'
import type { PublishRecord, RecordMetadata } from '../publish.js'
import { inspected, inspectedAs } from '../readable.js'
import { GroupHeaders } from '../retry/headers.js'
import { routing } from '../routing.js'
import { checkReplay, configurePublish, configureStalls } from './call-options.js'
import type {
  Client,
  ClientOptions,
  CloseOptions,
  CloseReport,
  DecodedTopicOptions,
  DlqReplayOptions,
  DlqReplayProgress,
  PublishOptions,
  ReadOptions,
  RecordStream,
  SeekTo,
  TopicOptions,
  TopicSelection,
} from './client.js'
import { type Config, configure, consumeRequest, topicName } from './config.js'
import { Consuming } from './consuming.js'
import { Counters } from './counters.js'
import { DlqReplays } from './dlq-replay.js'
import { shielded } from './ending.js'
import { Failures } from './failures.js'
import { Health } from './health.js'
import { logsWaiting } from './joining.js'
import { Life, replayCutOff } from './life.js'
import { Metering } from './metering.js'
import { Publications } from './publications.js'
import { publishable } from './publishable.js'
import { Publisher } from './publisher.js'
import { configureRead } from './read-options.js'
import type { ReadStream } from './read-stream.js'
import { Reads } from './reads.js'
import { Reports } from './reports.js'
import { Seeks } from './seeks.js'
import { TopicNames } from './topic-names.js'
import { Topics } from './topics.js'
import { WallClock } from './wall-clock.js'

/**
 * Makes a client. It connects at `start()`, or at the first `publish` or `read`.
 *
 * @throws ConfigurationError naming the option or environment key that is invalid, and its value (never a password).
 */
export function createClient(options: ClientOptions = {}): Client {
  return new KafkaClient(options)
}

/** Composes the parts of a client. Each part is a file that can be read alone; its host interface lists what it needs of the others. */
class KafkaClient implements Client {
  readonly closed: Promise<CloseReport>
  readonly #failures: Failures
  readonly #onlooker: Onlooker
  readonly #config: Config
  readonly #driver: Driver
  readonly #reports: Reports
  readonly #life: Life
  readonly #topics: Topics
  readonly #consuming: Consuming
  readonly #replays: DlqReplays
  readonly #publications: Publications
  readonly #reads: Reads
  readonly #metering: Metering
  readonly #health: Health
  readonly #seeks: Seeks
  readonly #clock: Clock
  /** True: its driver has begun to join the group. */
  #isJoining = false

  constructor(options: ClientOptions) {
    // Only the driver gets the credentials.
    const { ssl, sasl, ...config } = configure(options)
    const { brokers, codecs, metadataMaxAge, suffix, group } = config
    const driver = options.driver ?? kafkaDriver({ brokers, ssl, sasl, codecs, metadataMaxAge })
    const machine = clockOf(driver)
    const wallClock = new WallClock(machine)
    const clock = { ...machine, wall: () => wallClock.now() }
    const names = new TopicNames(suffix)
    const reports = new Reports(config.logger, names, clock.scheduler, config.leaks)
    const counters = new Counters()
    const publisher = new Publisher(driver, clock.scheduler, counters)
    const ownHeaders = group === undefined ? undefined : new GroupHeaders(group)
    const identity = { client: this, clientId: config.clientId, group }
    const common = { config, driver, clock, names, reports, counters, identity }

    const life = new Life({ ...common, onConnection: event => this.#consuming.onEvent(event) })
    const closeBy = (error: unknown) => life.closeBy(error)
    const failures = new Failures(config, clock, {
      ...common,
      ...{ publisher, closeBy },
      pause: topic => this.#topics.pause(topic),
    })
    this.#failures = failures
    const user = (topic: string | undefined) => topic && names.user(topic)
    this.#onlooker = {
      ...{ clientId: config.clientId, group, retryTopic: user(config.retryTopic), dlqTopic: user(config.dlqTopic) },
      errors: reports.onlookers.asObservable(),
    }
    const replays = new DlqReplays({
      dlqAssignments: () => this.#consuming.dlqAssignments(),
      awaitsDlq: () => this.#consuming.awaitsDlq,
      endOffsets: () =>
        concat(
          life.joined,
          defer(() => driver.endOffsets(config.dlqTopic!)),
        ),
      clock,
      read: from =>
        this.#reads.read(names.user(config.dlqTopic!), { topic: config.dlqTopic!, ...configureRead({ from }) }),
      group: group ?? '',
      writeBack: record => failures.writeBack(record),
    })
    const topics = new Topics({
      ...common,
      ...{ client: this, failures, replays, ownHeaders, wallClock, life },
      assignments: () => this.#consuming.assignments,
      changed: () => this.#topicsChanged(),
    })
    const consuming = new Consuming({ ...common, ...{ topics, ownHeaders, life, replays } })
    const publications = new Publications({
      ...common,
      ...{ publisher, connected: life.connected },
      unreachable: () => driver.lastFailure,
      ended: () => consuming.deliveryEnded(),
    })
    const reads = new Reads({ ...common, rack: config.rack, connected: life.connected })
    const seeks = new Seeks({
      ...{ driver, reports, consuming, hasGroup: group !== undefined },
      concerned: what => topics.concerned(what),
    })
    this.#config = config
    this.#clock = clock
    this.#driver = driver
    this.#reports = reports
    this.#life = life
    this.#topics = topics
    this.#consuming = consuming
    this.#replays = replays
    this.#publications = publications
    this.#reads = reads
    this.#seeks = seeks
    this.closed = life.closed
    this.#metering = new Metering({
      ...common,
      commits: () => consuming.commits.requests,
      assignments: () => consuming.assignments,
    })
    this.#health = new Health({
      driver,
      state: () => reports.currentState,
      failure: () => life.failure,
      outage: () => consuming.outage,
      awaitedGroup: () => (this.#isJoining ? group : undefined),
      isOut: () => consuming.isOut,
      isOver: () => topics.areOver,
    })
    const metering = this.#metering
    life.owns({ topics, consuming, replays, reads, seeks, publisher, publications, metering }, options.signal)
  }

  start(): Observable<RxMikaError> {
    if (this.currentState !== 'idle') return this.errors
    const { startFrom, group } = this.#config
    if (startFrom === 'committed' && group === undefined) {
      throw new ConfigurationError(
        "startFrom 'committed' needs a group, because only a group has committed positions; set the option group",
      )
    }
    this.#reports.moveTo('starting')
    // Without a topic there is nothing to read and no group to join.
    if (this.#topics.size > 0) this.#consume()
    else {
      this.#topics.begin()
      this.#life.work(this.#life.connected, () => this.#onlyPublishing())
    }
    return this.errors
  }

  #onlyPublishing(): Observable<never> {
    this.#life.run()
    return NEVER
  }

  #topicsChanged(): void {
    // The first topics may have been registered after the start.
    if (this.currentState === 'running' && !this.#consuming.hasBegun) this.#consume()
    else this.#driver.subscribe(this.#topics.read)
  }

  /** The two lines of the diagram in docs/architecture.md: records in, and positions out. */
  #consume(): void {
    const [driver, life, topics, consuming] = [this.#driver, this.#life, this.#topics, this.#consuming]
    topics.share()
    consuming.begin()
    life.work(EMPTY, () => consuming.commits.committed.pipe(tap(committed => consuming.onCommitted(committed))))
    const cameLater = (topic: string) => topics.cameLater(topic)
    const { group } = this.#config
    const announced = defer(() => {
      if (group !== undefined) driver.willJoin?.(group)
      return EMPTY
    })
    life.work(concat(life.connected, announced, topics.begin()), () =>
      merge(
        driver
          .consume(consumeRequest(this.#config, topics.read, cameLater))
          .pipe(tap(event => consuming.onEvent(event))),
        this.#joining(),
      ),
    )
  }

  #joining(): Observable<never> {
    const { group } = this.#config
    this.#isJoining = true
    return group === undefined ? EMPTY : logsWaiting(group, this.#clock, this.#reports)
  }

  topic<T>(
    what: TopicSelection,
    options: DecodedTopicOptions<T> & { readonly tombstones: 'ack' | 'fail' },
  ): RecordStream<T>
  topic<T>(what: TopicSelection, options: DecodedTopicOptions<T>): RecordStream<T | null>
  topic(what: TopicSelection, options?: TopicOptions): RecordStream
  topic<T>(
    what: TopicSelection,
    options: TopicOptions & Partial<DecodedTopicOptions<T>> = {},
  ): RecordStream<T | Buffer | null> {
    return this.#topics.register(what, options)
  }

  pause(what: TopicSelection): void {
    this.#topics.pause(what)
  }

  resume(what: TopicSelection): void {
    this.#topics.resume(what)
  }

  publish(records: PublishRecord | readonly PublishRecord[], options?: PublishOptions): Observable<RecordMetadata[]> {
    // The records first: `publish('orders', { value })` has its mistake there.
    const checked = publishable(records)
    const { timeout } = configurePublish(options)
    const { suffix } = this.#config
    // Copied, because the caller may change its objects before they are sent.
    const list = checked.map(record => ({ ...record }))
    for (const { topic } of list) topicName('publish: topic', topic, suffix)
    return this.#publications.publish(list, timeout)
  }

  read(topic: string, options?: ReadOptions): ReadStream {
    if (topic === undefined) throw invalid('read: topic', topic, 'must be a non-empty string')
    const fullName = topicName('read: topic', topic, this.#config.suffix)!
    return this.#reads.read(topic, { topic: fullName, ...configureRead(options) })
  }

  seek(what: TopicSelection, to: SeekTo): Promise<readonly Place[]> {
    return this.#seeks.seek(what, to)
  }

  replayDlq(options?: DlqReplayOptions): Observable<DlqReplayProgress> {
    if (this.#config.dlqTopic === undefined) throw new DlqNotConfiguredError()
    checkReplay(options)
    return defer(() => (this.#life.closing ? throwError(replayCutOff) : shielded(this.#replays.run(options))))
  }

  stalls(options?: StallsOptions): Stall[] {
    return this.#consuming.stalls(configureStalls(options).all)
  }

  metrics(): ClientMetrics {
    return this.#metering.snapshot()
  }

  health(): ClientHealth {
    return this.#health.look()
  }

  // Getters of the class, because own properties are printed with the object.
  get [routing](): Failures {
    return this.#failures
  }

  get [onlooker](): Onlooker {
    return this.#onlooker
  }

  /** For logs: without the internals, which are large. */
  toJSON(): unknown {
    const { clientId, group, retryTopic, dlqTopic } = this.#onlooker
    return { state: this.currentState, clientId, group, retryTopic, dlqTopic }
  }

  [inspected](...rest: [depth: number, options: InspectOptions, inspect: typeof import('node:util').inspect]): string {
    return inspectedAs('Client', this.toJSON() as object, ...rest)
  }

  get errors() {
    return this.#reports.errors
  }

  get events() {
    return shielded(this.#reports.events)
  }

  get state() {
    return shielded(this.#reports.state)
  }

  get currentState(): ClientState {
    return this.#reports.currentState
  }

  close(): Promise<CloseReport> {
    return this.#life.close()
  }

  closeGracefully(options?: CloseOptions): Promise<CloseReport> {
    return this.#life.closeGracefully(options)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close().then(() => undefined)
  }
}
