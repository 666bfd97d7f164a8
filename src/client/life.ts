import {
  concat,
  defer,
  EMPTY,
  ignoreElements,
  merge,
  type Observable,
  ReplaySubject,
  Subject,
  Subscription,
  share,
  takeUntil,
  tap,
  timer,
} from 'rxjs'
import type { Clock } from '../clock.js'
import type { ConnectionEvent, Driver } from '../driver.js'
import { ClientClosedError, isRxMikaError, type RxMikaError } from '../errors.js'
import { Readable } from '../readable.js'
import { configureClose } from './call-options.js'
import type { CloseOptions, CloseReport } from './client.js'
import { aborted, closing } from './closing.js'
import type { Config } from './config.js'
import type { Consuming } from './consuming.js'
import type { DlqReplays } from './dlq-replay.js'
import type { Metering } from './metering.js'
import type { Publications } from './publications.js'
import type { Publisher } from './publisher.js'
import type { Reads } from './reads.js'
import type { Reports } from './reports.js'
import type { Seeks } from './seeks.js'
import type { TopicNames } from './topic-names.js'
import type { Topics } from './topics.js'

export interface LifeHost {
  readonly config: Config
  readonly driver: Driver
  readonly clock: Clock
  readonly reports: Reports
  readonly names: TopicNames
  /** Called when the connection is lost or comes back. */
  onConnection(event: ConnectionEvent): void
}

/** The parts that end with the client. */
export interface Parts {
  readonly topics: Topics
  readonly consuming: Consuming
  readonly replays: DlqReplays
  readonly reads: Reads
  readonly seeks: Seeks
  readonly publisher: Publisher
  readonly publications: Publications
  readonly metering: Metering
}

/** A close report, printable in a log. */
class ReportObject extends Readable {}

export function replayCutOff(): ClientClosedError {
  return new ClientClosedError(
    'the client closed before the replay of the DLQ topic was complete; the next replay continues where this one stopped',
  )
}

/** The life of a client from start to end. It connects when that is needed, and closes once. */
export class Life {
  readonly closed: Promise<CloseReport>
  /** Completes when a broker answers. The first subscription connects, for all subscribers. */
  readonly connected: Observable<never>
  /** Completes when the client is running. */
  readonly joined = new ReplaySubject<never>()
  /** All work that continues until the client is closed. */
  readonly #work = new Subscription()
  #connecting = false
  #closing: { readonly patience: Subject<unknown>; fatal: RxMikaError | undefined } | undefined
  /** Emits when closing begins. Ends the work that comes before consuming, because it would fail on a closed driver. */
  readonly #closingBegins = new Subject<void>()
  #reportEnd!: (report: CloseReport) => void
  #finished = false
  #parts!: Parts

  constructor(readonly host: LifeHost) {
    const { driver, config, reports } = host
    this.#work.add(driver.trouble?.subscribe(error => reports.error(error)))
    this.#work.add(driver.connection?.subscribe(event => host.onConnection(event)))
    this.connected = defer(() => {
      this.#connecting = true
      return driver.connect({ clientId: config.clientId, logger: config.logger })
    }).pipe(
      tap(event => host.onConnection(event)),
      ignoreElements(),
      share({
        connector: () => new ReplaySubject(),
        resetOnComplete: false,
        resetOnError: false,
        resetOnRefCountZero: false,
      }),
    )
    this.closed = new Promise(resolve => {
      this.#reportEnd = resolve
    })
  }

  /** @param signal Closes the client when it is aborted. */
  owns(parts: Parts, signal: AbortSignal | undefined): void {
    this.#parts = parts
    const abort = (reason: unknown) =>
      this.closeBy(new ClientClosedError('the client was closed by its abort signal', { cause: reason }))
    // Aborted from the start: report it after the caller has the client and can subscribe.
    if (signal?.aborted) parts.consuming.soon(() => abort(signal.reason))
    else this.#work.add(aborted(signal).subscribe(abort))
  }

  get closing(): boolean {
    return this.#closing !== undefined
  }

  /** The error that closes, or has closed, the client. */
  get failure(): RxMikaError | undefined {
    return this.#closing?.fatal
  }

  // ── The beginning ────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Stays subscribed to the work until the client is closed. An error of the work closes the client, and so does its
   * completion.
   *
   * @param before Completes once the work may begin.
   */
  work(before: Observable<never>, work: () => Observable<unknown>): void {
    this.#work.add(
      concat(
        before.pipe(takeUntil(this.#closingBegins)),
        defer(() => (this.closing ? EMPTY : work())),
      ).subscribe({
        error: error => this.closeBy(error),
        complete: () => {
          if (!this.closing) this.closeBy(new ClientClosedError('the driver stopped consuming'))
        },
      }),
    )
  }

  /** Stays subscribed to the work until the client closes. Its error closes the client; its completion has no effect. */
  during(work: Observable<unknown>): void {
    this.#work.add(work.pipe(takeUntil(this.#closingBegins)).subscribe({ error: error => this.closeBy(error) }))
  }

  run(): void {
    this.host.reports.moveTo('running')
    this.joined.complete()
  }

  // ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  close(): Promise<CloseReport> {
    this.#close()
    this.#closing?.patience.next(undefined)
    return this.closed
  }

  closeGracefully(options: CloseOptions | undefined): Promise<CloseReport> {
    const { timeout, signal } = configureClose(options)
    if (this.#finished) return this.closed
    if (this.#closing === undefined) {
      this.#close(merge(timer(timeout, this.host.clock.scheduler), aborted(signal)), { timeout })
    } else {
      const { patience } = this.#closing
      this.#work.add(aborted(signal).subscribe(patience))
    }
    return this.closed
  }

  /** Closes at once because of an error that cannot heal. The streams error with it, and it is the last one on `errors`. */
  closeBy(cause: unknown): void {
    const error = isRxMikaError(cause)
      ? this.host.names.inError(cause)
      : new ClientClosedError(`the client closes: ${cause}`, { cause })
    if (this.#finished) return
    if (this.#closing === undefined) this.#close(undefined, { fatal: error })
    else {
      this.#closing.fatal ??= error
      this.#closing.patience.next(error)
    }
  }

  /** @param patience Emits when the wait for records ends; undefined: there is no wait. */
  #close(
    patience?: Observable<unknown>,
    { timeout, fatal }: { readonly timeout?: number; readonly fatal?: RxMikaError } = {},
  ): void {
    if (this.#closing !== undefined) return
    const { config, reports, driver, clock } = this.host
    const { topics, consuming, replays, reads, seeks, publications } = this.#parts
    const { commits, changes } = consuming
    // Replayed: a subscriber of a stream or of `state` may call `close()` within what follows, before anything waits.
    const closingNow = { patience: new ReplaySubject<unknown>(1), fatal }
    this.#closing = closingNow
    this.#closingBegins.next()
    if (fatal !== undefined) config.logger.fatal({ err: fatal }, fatal.message)
    reports.moveTo('draining', fatal)
    // The streams end first: operators that buffer records (bufferTime, concatMap) release them on completion.
    topics.endStreams(fatal === undefined ? {} : { error: fatal })
    replays.end(fatal ?? replayCutOff())
    reads.end(fatal)
    seeks.end(fatal)
    let end: CloseReport = { drained: true, unsettled: 0, left: [] }
    const steps = closing(
      {
        clock,
        changes,
        drained: () =>
          patience === undefined || (consuming.count('inFlight') === 0 && consuming.count('resting') === 0),
        flushCommits: () => commits.flush(),
        committed: () => {
          if (!commits.settled) return false
          // Records settled during that commit go into another one.
          commits.flush()
          return commits.settled
        },
        leave: () => {
          end = consuming.whatIsLeft()
          // From here on a settlement cannot be committed, so it must not be reported as counted.
          consuming.leave()
          return this.#connecting ? driver.leave() : EMPTY
        },
        published: () => publications.open === 0,
        disconnect: () => (this.#connecting ? driver.close() : EMPTY),
      },
      patience === undefined ? closingNow.patience : merge(patience, closingNow.patience),
      timeout,
    )
    steps.subscribe({ complete: () => this.#finish(end, closingNow.fatal) })
  }

  #finish(end: CloseReport, fatal: RxMikaError | undefined): void {
    const { reports } = this.host
    const { topics, consuming, publisher, publications, metering } = this.#parts
    this.#finished = true
    metering.end()
    consuming.leave()
    this.#work.unsubscribe()
    consuming.end()
    publisher.end()
    topics.endRoutes()
    publications.end()
    reports.endTallies()
    reports.leftBehind(end)
    reports.moveTo('closed', fatal)
    reports.end(fatal)
    const report = fatal === undefined ? end : { ...end, drained: false, error: fatal }
    this.#reportEnd(Object.assign(new ReportObject(), report) as unknown as CloseReport)
  }
}
