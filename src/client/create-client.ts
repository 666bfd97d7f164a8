import {
  asyncScheduler,
  concat,
  defer,
  EMPTY,
  ignoreElements,
  merge,
  NEVER,
  type Observable,
  ReplaySubject,
  Subject,
  Subscription,
  share,
  takeUntil,
  tap,
  throwError,
  timer,
} from 'rxjs'
import { type Clock, clockOf } from '../clock.js'
import type { Committed } from '../commit-point.js'
import type { Driver, DriverEvent, PartitionAssignment } from '../driver.js'
import { kafkaDriver } from '../drivers/kafka/index.js'
import {
  ClientClosedError,
  CommitError,
  ConfigurationError,
  DlqNotConfiguredError,
  FetchError,
  isRxMikaError,
  type RxMikaError,
  TopicAlreadyRegisteredError,
  TopicNotRegisteredError,
} from '../errors.js'
import type { ClientState, Stall, StallsOptions } from '../events.js'
import type { Completed, Failed } from '../failure.js'
import { checkOptions, invalid, type KnownOptions } from '../options.js'
import type { PublishRecord, RecordMetadata } from '../publish.js'
import { Readable } from '../readable.js'
import type { ConsumeRecord } from '../record.js'
import type { RecordBatch } from '../record-batch.js'
import { recordPlace } from '../record-place.js'
import { deadLetter } from '../retry/dead-letter.js'
import { GroupHeaders } from '../retry/headers.js'
import { redeliver } from '../retry/redeliver.js'
import { retryTopic } from '../retry/retry-topic.js'
import { routing } from '../routing.js'
import { Assignment, type AssignmentHost, type Reading } from './assignment.js'
import { checkReplay, configureClose, configurePublish } from './call-options.js'
import type {
  Client,
  ClientOptions,
  CloseOptions,
  CloseReport,
  DecodedTopicOptions,
  DlqReplayOptions,
  DlqReplayProgress,
  PublishOptions,
  TopicOptions,
} from './client.js'
import { aborted, bounded, closing, until } from './closing.js'
import { Commits } from './commits.js'
import { type Config, configure, topicName } from './config.js'
import { DlqReplays } from './dlq-replay.js'
import type { FailureRoute } from './failure-route.js'
import { Failures } from './failures.js'
import { LeakWatch } from './leak-watch.js'
import { Publications } from './publications.js'
import { publishable } from './publishable.js'
import { Publisher } from './publisher.js'
import { DlqReading, RetryReading, type SharedTopics, TopicReading } from './readings.js'
import { ClientRebalances } from './rebalances.js'
import { Reports } from './reports.js'
import { TopicNames } from './topic-names.js'
import { configureTopic, defaultMaxInFlight, type TopicConfig } from './topic-options.js'
import { TopicStream } from './topic-stream.js'
import { WallClock } from './wall-clock.js'

const resolved = Promise.resolve()
/** What a rebalance may take beyond `rebalanceTimeout`, for the last commits, ms. */
const lastCommits = 2_000

/**
 * Makes a client. Nothing is connected before `start()` or the first `publish`.
 *
 * @throws ConfigurationError naming the option or environment key that is invalid, and its value (never a password).
 */
export function createClient(options: ClientOptions = {}): Client {
  return new KafkaClient(options)
}

const stallsOptions: KnownOptions<StallsOptions> = { all: true }

/** A report as users get it: its fields are its own, and it reads well in a log. */
class ReportObject extends Readable {}

function replayCutOff(): ClientClosedError {
  return new ClientClosedError(
    'the client closed before the replay of the DLQ topic was caught up; what is left is replayed by the next',
  )
}

class KafkaClient implements Client, AssignmentHost {
  readonly closed: Promise<CloseReport>
  readonly [routing]: Failures
  readonly clock: Clock
  readonly #wallClock: WallClock
  readonly scheduler
  readonly reports: Reports
  readonly ownHeaders: GroupHeaders | undefined
  readonly #config: Config
  readonly #names: TopicNames
  readonly #driver: Driver
  readonly #connected: Observable<never>
  #connecting = false
  readonly #streams = new Map<string, TopicStream>()
  readonly #readings = new Map<string, Reading>()
  readonly #orphans: FailureRoute
  readonly #replays: DlqReplays
  readonly #commits: Commits
  readonly #publisher: Publisher
  readonly #publications: Publications
  readonly #assignments = new Map<PartitionAssignment, Assignment>()
  /** Something changed that a close or a rebalance waits for. */
  readonly #changes = new Subject<void>()
  readonly #work = new Subscription()
  #leaks: LeakWatch | undefined
  readonly #joined = new ReplaySubject<never>()
  readonly rebalances = new ClientRebalances()
  #closing: { readonly patience: Subject<unknown>; fatal: RxMikaError | undefined } | undefined
  /** What goes before consuming is given up then, for it would fail on a driver that is closed. */
  readonly #closingBegins = new Subject<void>()
  /** Why the newest commit was not accepted, unless one was since. */
  #refusedCommit: CommitError | undefined
  #reportEnd!: (report: CloseReport) => void
  #finished = false

  constructor(options: ClientOptions) {
    const config = configure(options)
    this.#config = config
    this.#driver =
      options.driver ??
      kafkaDriver({ brokers: config.brokers, ssl: config.ssl, sasl: config.sasl, codecs: config.codecs })
    const clock = clockOf(this.#driver)
    this.#wallClock = new WallClock(clock)
    this.clock = { ...clock, wall: () => this.#wallClock.now() }
    this.scheduler = this.clock.scheduler
    this.#names = new TopicNames(config.suffix)
    this.reports = new Reports(config.logger, this.#names, this.scheduler)
    this.ownHeaders = config.group === undefined ? undefined : new GroupHeaders(config.group)
    this.#publisher = new Publisher(this.#driver, this.scheduler)
    this.#commits = new Commits(this.#driver, this.clock, config.commitInterval, {
      refused: error => {
        this.#refusedCommit = error
        this.reports.error(error)
      },
      forgotten: (assignment, ranges) =>
        this.reports.event({ type: 'forgotten', ...placeOf(assignment, assignment.requested), ranges }),
      broken: error => this.#closeBy(new FetchError('the driver delivered records out of order', { cause: error })),
    })
    this.#replays = new DlqReplays({
      dlqAssignments: () => this.#dlqAssignments(),
      endOffsets: () =>
        concat(
          this.#joined,
          defer(() => this.#driver.endOffsets(config.dlqTopic!)),
        ),
      scheduler: this.scheduler,
      writeBack: record => this[routing].writeBack(record),
    })
    this[routing] = new Failures(config, this.clock, {
      names: this.#names,
      publisher: this.#publisher,
      reports: this.reports,
      pause: topic => this.pause(topic),
      closeBy: error => this.#closeBy(error),
    })
    // Of records whose topic is not registered here. They are read from the retry and DLQ topics, which have no keyFence.
    this.#orphans = this[routing].route({ name: 'not registered', keepsPlaces: false }, () =>
      config.dlqTopic === undefined ? held => held : deadLetter(this),
    )
    this.#work.add(this.#driver.trouble?.subscribe(error => this.reports.error(error)))
    this.#connected = defer(() => {
      this.#connecting = true
      return this.#driver.connect({ clientId: config.clientId, logger: config.logger })
    }).pipe(
      tap(event => this.#onDriverEvent(event)),
      ignoreElements(),
      share({
        connector: () => new ReplaySubject(),
        resetOnComplete: false,
        resetOnError: false,
        resetOnRefCountZero: false,
      }),
    )
    this.#publications = new Publications({
      publisher: this.#publisher,
      names: this.#names,
      clock: this.clock,
      unreachable: () => this.#driver.lastFailure,
      connected: this.#connected,
      ended: () => {
        if (this.#closing !== undefined) this.#changes.next()
      },
    })
    this.closed = new Promise(resolve => {
      this.#reportEnd = resolve
    })
    const { signal } = options
    const abort = (reason: unknown) =>
      this.#closeBy(new ClientClosedError('the client was closed by its abort signal', { cause: reason }))
    // Aborted from the beginning: whoever makes the client is to be told, too.
    if (signal?.aborted) this.soon(() => abort(signal.reason))
    else this.#work.add(aborted(signal).subscribe(abort))
  }

  // ── Topics ───────────────────────────────────────────────────────────────────────────────────────────────────────

  topic(name: string, options?: TopicOptions): Observable<ConsumeRecord>
  topic<T>(
    name: string,
    options: DecodedTopicOptions<T> & { readonly tombstones: 'ack' | 'fail' },
  ): Observable<ConsumeRecord<T>>
  topic<T>(name: string, options: DecodedTopicOptions<T>): Observable<ConsumeRecord<T | null>>
  topic<T>(
    name: string,
    options: TopicOptions & Partial<DecodedTopicOptions<T>> = {},
  ): Observable<ConsumeRecord<T | Buffer | null>> {
    if (name === undefined) throw invalid('topic', name, 'must be a non-empty string')
    const fullName = topicName('topic', name, this.#config.suffix)!
    if (this.#streams.has(fullName)) throw new TopicAlreadyRegisteredError(name)
    if (this.#closing !== undefined)
      throw new ClientClosedError(`topic '${name}' is registered on a client that closes`)
    if (this.currentState !== 'idle') {
      throw new ConfigurationError(`topic '${name}' is registered after start(); register every topic before it`)
    }
    const { retryTopic, dlqTopic } = this.#config
    if (fullName === retryTopic || fullName === dlqTopic) {
      throw new ConfigurationError(
        `topic '${name}' is the client's ${fullName === dlqTopic ? 'dlqTopic' : 'retryTopic'}`,
      )
    }
    const topic = configureTopic(name, options, this.#config)
    const keepsPlaces = topic.keyFence !== undefined
    const route = this[routing].route({ name, keepsPlaces }, () => this.#stepsOf(topic))
    const stream: TopicStream = new TopicStream(name, route, () => this.#assignments.values())
    this.#streams.set(fullName, stream)
    this.#readings.set(fullName, new TopicReading(stream, topic.maxInFlight, topic.batch, topic.keyFence))
    return topic.decode === undefined ? stream.records : stream.records.pipe(topic.decode)
  }

  #stepsOf({ onFail, retries, backoff, dlq, keyFence }: TopicConfig<unknown>) {
    if (onFail !== undefined) return onFail
    const tryAgain = () =>
      keyFence === undefined
        ? retryTopic(this, { retries, backoff })
        : redeliver(this, { attempts: retries + 1, backoff })
    const again = retries > 0 ? tryAgain() : undefined
    const dead = dlq ? deadLetter(this) : undefined
    return (failures: Observable<Failed>): Observable<Failed | Completed> => {
      const tried = again === undefined ? failures : again(failures)
      return dead === undefined ? tried : dead(tried)
    }
  }

  pause(topic: string): void {
    if (this.#streamNamed(topic).pause()) this.reports.event({ type: 'paused', topic })
  }

  resume(topic: string): void {
    const stream = this.#streamNamed(topic)
    // What is held goes on before anything new can fail.
    this[routing].resumed(topic)
    if (!stream.resume()) return
    // Said before it is so: what is delivered may fail, and a breaker may pause the topic again.
    this.reports.event({ type: 'resumed', topic })
    for (const assignment of this.#assignments.values()) assignment.drainSoon()
  }

  #streamNamed(topic: string): TopicStream {
    const stream = this.#streams.get(this.#names.full(topic))
    if (stream === undefined) throw new TopicNotRegisteredError(topic)
    return stream
  }

  // ── Life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  get errors() {
    return this.reports.errors
  }

  get events() {
    return this.reports.events.asObservable()
  }

  get state() {
    return this.reports.state.asObservable()
  }

  get currentState(): ClientState {
    return this.reports.currentState
  }

  start(): Observable<RxMikaError> {
    if (this.currentState !== 'idle') return this.errors
    if (this.#config.startFrom === 'committed' && this.#config.group === undefined) {
      throw new ConfigurationError(
        "startFrom 'committed' needs a group, which alone has committed positions; set group",
      )
    }
    this.reports.moveTo('starting')
    // Without a topic there is nothing to read, and no group to join.
    this.#work.add(
      (this.#streams.size === 0 ? this.#onlyPublishing() : this.#consuming()).subscribe({
        next: event => this.#onDriverEvent(event),
        error: error => this.#closeBy(error),
        complete: () => {
          if (this.#closing === undefined) this.#closeBy(new ClientClosedError('the driver stopped consuming'))
        },
      }),
    )
    return this.errors
  }

  #onlyPublishing(): Observable<never> {
    return concat(
      this.#connected.pipe(takeUntil(this.#closingBegins)),
      defer(() => {
        if (this.#closing === undefined) this.#run()
        return NEVER
      }),
    )
  }

  #consuming(): Observable<DriverEvent> {
    this.#shareTopics()
    this.#leaks = new LeakWatch(
      () => this.#assignments.values(),
      (_assignment, record) => this.reports.event({ type: 'leaked', ...recordPlace(record) }),
    )
    const { group, startFrom, rebalanceTimeout, sessionTimeout, heartbeatInterval } = this.#config
    const { groupProtocol, instanceId, rack, metadataMaxAge } = this.#config
    const topics = [...this.#readings.keys()]
    this.#work.add(
      this.#commits.committed.subscribe({
        next: committed => this.#onCommitted(committed),
        error: error => this.#closeBy(error),
      }),
    )
    return concat(
      concat(this.#connected, this.#existing(topics)).pipe(takeUntil(this.#closingBegins)),
      defer(() => {
        if (this.#closing !== undefined) return EMPTY
        return this.#driver.consume({
          group,
          topics,
          startFrom,
          rebalanceTimeout: rebalanceTimeout + lastCommits,
          sessionTimeout,
          heartbeatInterval,
          groupProtocol,
          instanceId,
          rack,
          metadataMaxAge,
        })
      }),
    )
  }

  #run(): void {
    this.reports.moveTo('running')
    this.#joined.complete()
  }

  /** Completes when all of them exist. */
  #existing(topics: readonly string[]): Observable<never> {
    return defer(() => this.#driver.topics(topics)).pipe(
      tap(known => {
        const missing = topics.filter(topic => !known.has(topic))
        if (missing.length > 0) {
          throw new ConfigurationError(
            `topic ${missing.map(topic => this.#names.shown(topic)).join(', ')} does not exist, and the broker does not create it`,
          )
        }
      }),
      ignoreElements(),
    )
  }

  /** The retry and DLQ topics are read like any other; what is on them is for the registered topics' streams. */
  #shareTopics(): void {
    const { retryTopic, dlqTopic } = this.#config
    if (this.ownHeaders === undefined) return
    const shared: SharedTopics = {
      headers: this.ownHeaders,
      reports: this.reports,
      names: this.#names,
      maxInFlight: defaultMaxInFlight,
      wallClock: this.#wallClock,
      stream: topic => this.#streams.get(topic),
      orphans: this.#orphans,
    }
    if (retryTopic !== undefined) this.#readings.set(retryTopic, new RetryReading(shared))
    if (dlqTopic !== undefined) this.#readings.set(dlqTopic, new DlqReading(shared, this.#replays))
  }

  get stallAfter(): number {
    return this.#config.stallAfter
  }

  stalls(options: StallsOptions = {}): Stall[] {
    checkOptions('stalls', options, stallsOptions)
    const { all = false } = options
    if (typeof all !== 'boolean') throw invalid('stalls: all', all, 'must be a boolean')
    const stalls: Stall[] = []
    for (const assignment of this.#assignments.values()) {
      if (all) {
        for (const stall of assignment.stalls()) stalls.push(stall)
        continue
      }
      const stall = assignment.stall()
      if (stall !== undefined) stalls.push(stall)
    }
    return stalls
  }

  replayDlq(options?: DlqReplayOptions): Observable<DlqReplayProgress> {
    if (this.#config.dlqTopic === undefined) throw new DlqNotConfiguredError()
    checkReplay(options)
    return defer(() => (this.#closing === undefined ? this.#replays.run(options) : throwError(replayCutOff)))
  }

  #dlqAssignments(): Assignment[] | undefined {
    if (this.currentState === 'idle' || this.currentState === 'starting' || this.rebalances.underWay) return undefined
    return [...this.#assignments.values()].filter(assignment => assignment.reading.kind === 'dlq')
  }

  // ── From the driver ──────────────────────────────────────────────────────────────────────────────────────────────

  get delivering(): boolean {
    return this.#closing === undefined
  }

  get doubtful(): boolean {
    return this.#driver.doubtful === true
  }

  soon(work: () => void): void {
    // In real time a microtask: a timer, as `asyncScheduler` has it, takes a millisecond, which is long where `maxInFlight`
    // is 1. Of a promise, for fake timers leave those alone; and not by `asapScheduler`, which makes an action for each.
    if (this.scheduler === asyncScheduler) resolved.then(work).catch(error => this.#closeBy(error))
    else this.scheduler.schedule(work)
  }

  #onDriverEvent(event: DriverEvent): void {
    switch (event.type) {
      case 'batch':
        return this.#assignments.get(event.assignment)?.accept(event.batch, event.from)
      case 'assigned':
        return this.#onAssigned(event.added, event.retained)
      case 'revoking':
        return event.hold(this.#giveUp(event.assignments))
      case 'revoked':
      case 'lost':
        return this.#endAssignments(event.assignments, event.type)
      case 'confirmed':
        for (const assignment of this.#assignments.values()) assignment.drain()
        return
      case 'trouble':
        return this.reports.error(event.error)
      case 'disconnected':
      case 'restarted':
        return this.reports.event({ type: event.type, error: event.error })
      case 'reconnected':
        return this.reports.event({ type: 'reconnected' })
    }
  }

  #onAssigned(added: readonly PartitionAssignment[], retained: readonly PartitionAssignment[]): void {
    for (const handle of retained) {
      const assignment = this.#assignments.get(handle)
      if (assignment !== undefined) assignment.givingUp = false
    }
    const signals = this.#config.group === undefined ? undefined : this.#commits.barrier
    for (const handle of added) {
      const reading = this.#readings.get(handle.topic)
      if (reading === undefined || handle.ended) continue
      const assignment = new Assignment(handle, this.#names.user(handle.topic), reading, this, signals)
      this.#assignments.set(handle, assignment)
      this.reports.event({ type: 'assigned', ...placeOf(assignment, handle.position) })
    }
    this.#config.logger.info({ added: added.length, partitions: this.#assignments.size }, 'partitions are assigned')
    if (![...this.#assignments.values()].some(({ givingUp }) => givingUp)) this.rebalances.end()
    if (this.currentState === 'starting') this.#run()
    for (const assignment of this.#assignments.values()) assignment.drain()
    this.#replays.progressed()
  }

  /** Lets what is in flight settle, then commits, so that the next owner is given nothing that was done here. */
  #giveUp(handles: readonly PartitionAssignment[]): Observable<unknown> {
    const { rebalanceTimeout, logger } = this.#config
    const giving = this.#assignmentsOf(handles)
    for (const assignment of giving) assignment.givingUp = true
    this.rebalances.begin()
    const inFlight = giving.reduce((all, assignment) => all + assignment.inFlight, 0)
    logger.info(
      { partitions: giving.length, inFlight },
      'a rebalance begins: what is in flight may settle, and is committed',
    )
    return concat(
      bounded(
        () => until(() => giving.every(each => each.inFlight === 0), this.#changes),
        rebalanceTimeout,
        this.scheduler,
      ),
      defer(() => {
        this.#commits.flush()
        return until(() => giving.every(each => each.ended || each.isCommitted), this.#changes)
      }),
    )
  }

  #assignmentsOf(handles: readonly PartitionAssignment[]): Assignment[] {
    return handles.flatMap(handle => this.#assignments.get(handle) ?? [])
  }

  #endAssignments(handles: readonly PartitionAssignment[], why: 'revoked' | 'lost'): void {
    const over = this.#assignmentsOf(handles)
    for (const assignment of over) {
      this.#assignments.delete(assignment.handle)
      this.#commits.forget(assignment.handle)
      assignment.end()
    }
    for (const assignment of over) {
      assignment.letGo()
      this.reports.event({ type: why, ...placeOf(assignment, assignment.committed) })
    }
    for (const { route } of this.#streams.values()) route.forgetEnded()
    this.#orphans.forgetEnded()
    if (over.length > 0) this.#config.logger.info({ partitions: over.length }, `partitions are ${why}`)
  }

  #onCommitted(committed: Committed): void {
    this.#refusedCommit = undefined
    const assignment = this.#commits.confirm(committed)
    if (assignment !== undefined) this.reports.event({ type: 'committed', ...placeOf(assignment, committed.offset) })
    assignment?.openGate()
    this.#changes.next()
  }

  pauseFetching({ handle }: Assignment): void {
    this.#driver.pause([handle])
  }

  resumeFetching({ handle }: Assignment): void {
    this.#driver.resume([handle])
  }

  readAt({ handle }: Assignment, offset: number): Observable<RecordBatch> {
    return this.#driver.readAt(handle, offset)
  }

  commitDue(): void {
    if (this.#config.group !== undefined) this.#commits.due()
  }

  deliveryEnded(): void {
    if (this.#closing !== undefined || this.rebalances.underWay) this.#changes.next()
  }

  // ── Publishing ───────────────────────────────────────────────────────────────────────────────────────────────────

  publish(records: PublishRecord | readonly PublishRecord[], options?: PublishOptions): Observable<RecordMetadata[]> {
    const { timeout } = configurePublish(options)
    const list = publishable(records)
    const full = list.map(record => ({
      ...record,
      topic: topicName('publish: topic', record.topic, this.#config.suffix)!,
    }))
    const topics = list.map(({ topic }) => topic)
    return this.#publications.publish(full, topics, timeout)
  }

  // ── Closing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  close(): Promise<CloseReport> {
    this.#close()
    this.#closing?.patience.next(undefined)
    return this.closed
  }

  closeGracefully(options?: CloseOptions): Promise<CloseReport> {
    const { timeout, signal } = configureClose(options)
    if (this.#finished) return this.closed
    if (this.#closing === undefined) {
      this.#close(merge(timer(timeout, this.scheduler), aborted(signal)), { timeout })
    } else {
      const { patience } = this.#closing
      this.#work.add(aborted(signal).subscribe(patience))
    }
    return this.closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close().then(() => undefined)
  }

  /** What cannot heal: closes at once, tells the streams, and is the last of `errors`. */
  #closeBy(cause: unknown): void {
    const error = isRxMikaError(cause)
      ? this.#names.inError(cause)
      : new ClientClosedError(`the client closes: ${cause}`, { cause })
    if (this.#finished) return
    if (this.#closing === undefined) this.#close(undefined, { fatal: error })
    else {
      this.#closing.fatal ??= error
      this.#closing.patience.next(error)
    }
  }

  /** @param patience How long to wait for records; undefined: not at all. */
  #close(
    patience?: Observable<unknown>,
    { timeout, fatal }: { readonly timeout?: number; readonly fatal?: RxMikaError } = {},
  ): void {
    if (this.#closing !== undefined) return
    const closingNow = { patience: new Subject<unknown>(), fatal }
    this.#closing = closingNow
    this.#closingBegins.next()
    if (fatal !== undefined) this.#config.logger.fatal({ err: fatal }, fatal.message)
    this.reports.moveTo('draining', fatal)
    // The streams end first: operators that hold records back (bufferTime, concatMap) let go of them on completion.
    for (const stream of this.#streams.values()) stream.end(fatal === undefined ? {} : { error: fatal })
    this.#replays.end(fatal ?? replayCutOff())
    let end: CloseReport = { drained: true, unsettled: 0, left: [] }
    const steps = closing(
      {
        clock: this.clock,
        changes: this.#changes,
        drained: () => patience === undefined || (this.#isDrained() && this.#count('resting') === 0),
        flushCommits: () => this.#commits.flush(),
        committed: () => {
          if (!this.#commits.settled) return false
          // What was settled while that commit was under way goes into one more.
          this.#commits.flush()
          return this.#commits.settled
        },
        leave: () => {
          this.#commits.stop()
          end = this.#whatIsLeft()
          // What is settled from here on cannot be committed: it shall not be told that it was.
          this.#endAssignments([...this.#assignments.keys()], 'revoked')
          this.rebalances.end()
          return this.#connecting ? this.#driver.leave() : EMPTY
        },
        published: () => this.#publications.open === 0,
        disconnect: () => (this.#connecting ? this.#driver.close() : EMPTY),
      },
      patience === undefined ? closingNow.patience : merge(patience, closingNow.patience),
      timeout,
    )
    steps.subscribe({ complete: () => this.#finish(end, closingNow.fatal) })
  }

  /** What is not completed, or completed and not committed, when nothing can be committed any more. */
  #whatIsLeft(): CloseReport {
    const unsettled = this.#unsettled()
    const left: Stall[] = []
    for (const assignment of this.#assignments.values()) {
      const stall = assignment.leftBehind()
      if (stall !== undefined) left.push(stall)
    }
    const committed = this.#commits.settled && left.every(({ why }) => why !== 'committing')
    if (committed) return { drained: unsettled === 0, unsettled, left }
    const error =
      this.#refusedCommit ??
      new CommitError('the last commit was not confirmed before the client had to be closed', { retriable: true })
    return { drained: false, unsettled, left, error }
  }

  #finish(end: CloseReport, fatal: RxMikaError | undefined): void {
    this.#finished = true
    this.#endAssignments([...this.#assignments.keys()], 'revoked')
    this.#work.unsubscribe()
    this.#leaks?.end()
    this.#publisher.end()
    this.#commits.stop()
    for (const { route } of this.#streams.values()) route.end()
    this.#orphans.end()
    this.#publications.end()
    this.reports.endTallies()
    this.reports.moveTo('closed', fatal)
    this.reports.end(fatal)
    const report = fatal === undefined ? end : { ...end, drained: false, error: fatal }
    this.#reportEnd(Object.assign(new ReportObject(), report) as unknown as CloseReport)
  }

  #isDrained(): boolean {
    return this.#count('inFlight') === 0
  }

  #unsettled(): number {
    return this.#count('inFlight') + this.#count('stuck') + this.#count('resting') + this.#count('left')
  }

  #count(which: 'inFlight' | 'stuck' | 'resting' | 'left'): number {
    let all = 0
    for (const assignment of this.#assignments.values()) all += assignment[which]
    return all
  }
}

function placeOf(assignment: Assignment, offset: number | bigint) {
  return { topic: assignment.topic, partition: assignment.partition, offset: BigInt(offset) }
}
