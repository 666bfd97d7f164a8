import { setMaxListeners } from 'node:events'
import type { Observable } from 'rxjs'
import { type ClientMessage, receiveChannel, settleChannel, traceSync } from '../channels.js'
import type { Clock } from '../clock.js'
import type { FailureStage, Supply } from '../delivery.js'
import type { PartitionAssignment } from '../driver.js'
import { FetchError, KeyFenceError } from '../errors.js'
import type { StallReason } from '../events.js'
import { type Disposition, Failed } from '../failure.js'
import type { PartitionMetrics } from '../metrics.js'
import type { BarrierSignal } from '../operators/completion-barrier.js'
import { partitionName, placeName } from '../place.js'
import { DeliveredRecord, type Outrun, type Rebalances, type RecordOwner, type RecordSource } from '../record.js'
import type { RecordBatch } from '../record-batch.js'
import { recordPlace } from '../record-place.js'
import type { Counters, TopicCounts } from './counters.js'
import { DelayedRecords } from './delayed-records.js'
import { DeliveryWindow } from './delivery-window.js'
import type { FailureRoute } from './failure-route.js'
import { decodeFinished, encodeFinished, type FinishedRange, type Remembered } from './finished-work.js'
import { KeyFence, type KeyFenceOptions } from './key-fence.js'
import { Phases } from './phases.js'
import type { Reports } from './reports.js'
import { StallWatch, type StallWatchHost } from './stall-watch.js'
import type { StreamTopic } from './stream-topic.js'
import type { StreamFeed, TopicStream } from './topic-stream.js'
import { doubtLookedAtEvery, Waiting, type WaitingHost } from './waiting.js'

/** What becomes of a record that was read: a stream it is for, or nothing, where it is dealt with otherwise. */
export type Admission = { readonly stream: StreamTopic; readonly dueIn: number }

/** What an assignment needs of the client it belongs to. */
export interface AssignmentHost {
  readonly clock: Clock
  readonly reports: Reports
  /** The client, as tracing channels name it. */
  readonly identity: ClientMessage
  readonly counters: Counters
  readonly stallAfter: number
  readonly ownHeaders: { isOwn(name: string): boolean } | undefined
  readonly rebalances: Rebalances
  /** False while closing: nothing new is delivered. */
  readonly delivering: boolean
  /** What is assigned may be somebody else's by now: nothing is delivered until that is known, and `drain` called. */
  readonly doubtful: boolean
  /** Runs the work in another turn and at the same time: what user code called has returned by then. */
  soon(work: () => void): void
  pauseFetching(assignment: Assignment): void
  resumeFetching(assignment: Assignment): void
  /** The batch that holds the record at `offset`, or what comes after it where it is gone. */
  readAt(assignment: Assignment, offset: number): Observable<RecordBatch>
  /** The completed prefix grew. */
  commitDue(assignment: Assignment): void
  /** A delivery came to its end, or can no longer be waited for. */
  deliveryEnded(): void
}

/** How one kind of topic is read. */
export interface Reading {
  readonly kind: RecordSource['kind']
  readonly maxInFlight: number
  /** The strict gate; see `TopicOptions.batch`. */
  readonly strict: boolean
  /** One record of a key is out at a time; undefined: keys are in no order. */
  readonly keyFence: KeyFenceOptions | undefined
  /** Whether the partition is to be fetched at all, and records that were taken in may be handed out. */
  readonly active: boolean
  /** Whether more may be taken in now, the record at `offset` coming next. */
  accepts(assignment: Assignment, offset: number): boolean
  /** Lets operators hold back what comes; absent where it is for several pipelines. */
  readonly supply?: Supply
  /** Why not, for `stalls()`; undefined: nothing is held back by that. */
  closedBecause(): StallReason | undefined
  /**
   * Decides for a record just taken in, and gives it the origin and the stream that a copy has; completes or fails it itself
   * where it is for no stream.
   */
  admit(assignment: Assignment, record: DeliveredRecord): Admission | undefined
  /** The stream of a record that was admitted; undefined where it is for none. */
  streamOf(record: DeliveredRecord): StreamTopic | undefined
  /** Where it goes when it fails. */
  routeOf(record: DeliveredRecord): FailureRoute
  /** Called when the position of the completed prefix moved. */
  progressed?(assignment: Assignment): void
}

interface QueuedBatch {
  readonly batch: RecordBatch
  index: number
  readonly at: number
}

/** Records of one partition that wait, or are done behind one that waits: some 20 MB; more stay in Kafka meanwhile. */
const maxHeldRecords = 200_000

/** A log that was cut, or an end that was heard some time ago, is no backlog. */
function lagOf(end: bigint, position: bigint): bigint {
  return end > position ? end - position : 0n
}

/** The group may have a position beyond the one that is kept elsewhere: what is below it is not to be remembered. */
function above(ranges: readonly FinishedRange[], position: number): FinishedRange[] {
  return ranges.flatMap(([first, last]): FinishedRange[] =>
    last < position ? [] : [[Math.max(first, position), last]],
  )
}

const nobody = undefined as unknown as DeliveredRecord

const nothingToRemember: Remembered = { metadata: '', leftOut: 0 }

/**
 * One assignment of one partition, from `assigned` to `revoked`, `lost` or the close: window, queue, backpressure,
 * timers and signal hang on it and end with it, in one step.
 */
export class Assignment implements RecordOwner, StreamFeed, StallWatchHost, WaitingHost {
  readonly window = new DeliveryWindow()
  /** Who waits for its records. */
  readonly phases = new Phases()
  readonly watch: StallWatch
  /** The end of the log, as last heard. */
  endOffset: number | undefined
  /** Of a topic of its own: the counts of all its records. */
  readonly #counts: TopicCounts | undefined
  /** Somebody listened to `rxmika:receive` when it was last asked, which is once for many deliveries. */
  #traced = false
  ended = false
  #wasMoved = false
  /** A rebalance may take it: nothing of it is delivered until that is decided. */
  givingUp = false
  /** Everything below is completed or was never to be delivered. */
  position: number
  /** The last position that was handed to the commits, and the last the broker confirmed. */
  requested: bigint
  /** What was handed to the commits beside it. */
  requestedMetadata: string
  committed: bigint
  #committedMetadata: string
  /** A seek moved it, and the broker has not confirmed the new position yet: whatever was committed says nothing. */
  #isUncertain = false
  readonly #signals: { next(signal: BarrierSignal): void } | undefined
  readonly #queue: QueuedBatch[] = []
  /** Bytes of the batches in the queue, each as a whole. */
  #queuedBytes = 0
  /** Bytes that came since fetching last began, or since the queue was last empty. */
  #broughtBytes = 0
  readonly #waiting = new Waiting(this)
  /** Completed under an earlier assignment, and not to be delivered again. */
  readonly #finished: FinishedRange[]
  readonly #delayed: DelayedRecords
  readonly #fence: KeyFence | undefined
  /** The fence let these out, and they are about to go. */
  readonly #letOut: DeliveredRecord[] = []
  /** Who is to be told when the record of a slot is done with. */
  readonly #whenDone = new Map<number, (() => void)[]>()
  #fetching = false
  /** The queue waits for its pipeline and not for room: the stream has it drained when it takes more. */
  #isHeldBack = false
  #draining = false
  /** A turn of its own is about to deliver. */
  #turnTaken = false
  #laterTaken = false
  readonly #turn = () => {
    this.#turnTaken = false
    this.drain()
  }
  /** With the strict gate: where the batch under way ends. */
  #gate: number | undefined
  /** The position once everything taken in is completed. */
  #readTo: number
  #abort: AbortController | undefined
  /** The slot of the record in delivery, if the barrier knows nothing of it yet; -1: there is none. */
  #unsignalled = -1
  /** The position after records that were completed while they were delivered, if the barrier knows nothing of them; or -1. */
  #passedUnsignalled = -1
  // One object each, used again for every record: the barrier reads them at once and keeps neither.
  readonly #delivered = { type: 'delivered' as const, record: nobody }
  readonly #completed = { type: 'completed' as const, record: nobody }

  constructor(
    readonly handle: PartitionAssignment,
    /** As users name it. */
    readonly topic: string,
    readonly reading: Reading,
    readonly host: AssignmentHost,
    signals: ((assignment: Assignment) => { next(signal: BarrierSignal): void }) | undefined,
  ) {
    this.position = this.#readTo = handle.position
    this.requested = this.committed = BigInt(handle.position)
    this.requestedMetadata = this.#committedMetadata = handle.metadata
    this.#finished = signals === undefined ? [] : decodeFinished(handle.position, handle.metadata)
    this.#signals = signals?.(this)
    this.#counts = reading.kind === 'topic' ? host.counters.of(topic) : undefined
    this.watch = new StallWatch(this, host.clock, host.reports, host.stallAfter)
    this.#fence = reading.keyFence && new KeyFence(reading.keyFence)
    this.#delayed = new DelayedRecords({
      clock: host.clock,
      readAt: offset => host.readAt(this, offset),
      due: record => {
        this.phases.move(record, 'waiting')
        this.#wait(record, this.reading.streamOf(record)!)
        this.drain()
      },
      gone: record => {
        host.reports.error(
          new FetchError(
            `the record at ${placeName({ topic, partition: this.partition, offset: record.batch.offset(record.index) })} was deleted from the log ` +
              'before its retry was due; lengthen the retention of the topic, or shorten the backoff',
            { topic, partition: this.partition, offset: BigInt(record.batch.offset(record.index)) },
          ),
        )
        this.complete(record)
      },
    })
  }

  get partition(): number {
    return this.handle.partition
  }

  get ownHeaders() {
    return this.host.ownHeaders
  }

  get rebalances(): Rebalances {
    return this.host.rebalances
  }

  get client(): ClientMessage {
    return this.host.identity
  }

  get supply(): Supply | undefined {
    return this.reading.supply
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      // One listener for each record that is worked on is no leak: Node warns of more than ten otherwise.
      setMaxListeners(0, this.#abort.signal)
    }
    if (this.ended && !this.#abort.signal.aborted) this.#abort.abort(this.#abortReason())
    return this.#abort.signal
  }

  #abortReason(): DOMException {
    const why = this.#wasMoved ? 'was moved by seek' : 'is no longer assigned here'
    return new DOMException(`${partitionName(this)} ${why}`, 'AbortError')
  }

  get #delivering(): boolean {
    return this.host.delivering && !this.givingUp
  }

  get inFlight(): number {
    return this.phases.inFlight
  }

  // ── In: batches from the driver ──────────────────────────────────────────────────────────────────────────────────

  accept(batch: RecordBatch, from: number): void {
    if (this.ended) return
    this.#queue.push({ batch, index: from, at: this.host.clock.monotonic() })
    this.#queuedBytes += batch.byteLength
    this.#broughtBytes += batch.byteLength
    this.drain()
    if (this.#queue.length > 0) this.watch.look()
  }

  /**
   * Delivers what may be delivered now. Called whenever something that held it back has changed, and only where no
   * operator of a pipeline can be in the middle of its work: in a turn of the driver or the scheduler, or by a subscriber
   * that subscribes. Everything else that makes room calls `drainSoon`.
   */
  drain(): void {
    // Whoever subscribes again from within a delivery calls this once more: the loop below goes on by itself.
    if (this.#draining || this.ended || this.host.doubtful) return
    this.#draining = true
    this.#isHeldBack = false
    this.#traced = receiveChannel.hasSubscribers
    try {
      if (this.#delivering) {
        this.#waiting.handOut()
        this.#deliverQueued()
      }
    } finally {
      this.#draining = false
      this.signalPassed()
    }
    this.#regulate()
    this.#drainAgain()
  }

  /**
   * Delivers in another turn, one for all that ask meanwhile. Records are settled from within operators: `bufferTime`
   * emits, a subscriber acks what it was given, and a record delivered by that ack would reach `bufferTime` before it has
   * a new buffer. It drops what it gets then, and is not the only one.
   */
  drainSoon(): void {
    if (this.#turnTaken || this.ended) return
    this.#turnTaken = true
    this.host.soon(this.#turn)
  }

  /**
   * A pipeline that ended while it was given a record may have been subscribed to again from within (`retry()`,
   * `repeat()`). What waits for it is delivered in another turn: one that fails for ever must not hold up all else.
   */
  #drainAgain(): void {
    if (this.#turnTaken || this.#waiting.empty || !this.mayHandOut) return
    if (this.#waiting.anyOpen) this.drainLater()
  }

  soon(work: () => void): void {
    this.host.soon(work)
  }

  /** Delivers in another turn, which leaves all else its own. */
  drainLater(): void {
    if (this.#laterTaken) return
    this.#laterTaken = true
    this.host.clock.scheduler.schedule(() => {
      this.#laterTaken = false
      this.drain()
    })
  }

  get mayHandOut(): boolean {
    return !this.ended && this.#delivering && this.reading.active
  }

  get doubtful(): boolean {
    return this.host.doubtful
  }

  /** The bytes of records from `at` on were let go while their stream was closed: they wait again when they are read. */
  recall(records: readonly DeliveredRecord[], at: number): number {
    let end = at
    while (end < records.length && this.isReleased(records[end]!)) this.phases.move(records[end++]!, 'not-due')
    if (end > at) this.#delayed.recall(records.slice(at, end))
    return end
  }

  #deliverQueued(): void {
    let queued = this.#queue[0]
    if (queued === undefined) return
    let marked = false
    while (queued !== undefined && !this.ended && this.#delivering) {
      const { batch } = queued
      if (queued.index < batch.count) {
        if (queued.index % doubtLookedAtEvery === doubtLookedAtEvery - 1 && this.host.doubtful) return
        if (!this.#hasRoom() || !this.#gateIsOpen()) return
        if (!this.reading.accepts(this, batch.offset(queued.index))) {
          this.#isHeldBack = this.reading.kind === 'topic'
          return
        }
        if (!marked) {
          marked = true
          this.watch.markTime()
        }
        const index = queued.index++
        const last = queued.index === batch.count
        if (last) this.#dequeue()
        this.#take(batch, index, last)
      } else {
        this.#dequeue()
        this.#pass(batch.lastOffset + 1)
      }
      queued = this.#queue[0]
    }
  }

  #dequeue(): void {
    this.#queuedBytes -= this.#queue.shift()!.batch.byteLength
  }

  /** Bytes in the queue that are still to be delivered. */
  get #leftBytes(): number {
    const first = this.#queue[0]
    if (first === undefined) return 0
    const { batch, index } = first
    return this.#queuedBytes - (batch.count === 0 ? 0 : (batch.byteLength * index) / batch.count)
  }

  /** Gives the record its slot in the window, and hands it to its stream or lets it wait there. */
  #take(batch: RecordBatch, index: number, last: boolean): void {
    // A subscriber that threw left the record before this one so.
    this.#signalDelivered()
    const { tail: slot, span } = this.window
    const record = new DeliveredRecord(this, batch, index, slot, undefined, 0)
    this.window.push(record)
    this.#readTo = (last ? batch.lastOffset : batch.offset(index)) + 1
    if (last && this.reading.strict) this.#gate = this.#readTo
    this.#unsignalled = slot
    if (span > 0) this.#signalDelivered()
    this.#admit(record)
    this.#signalDelivered()
  }

  /**
   * Signals the record in delivery to the barrier. If no record before it is open, that is left until it has outlived its
   * delivery: most are completed by then, and one `passed` stands for a whole run of them.
   */
  #signalDelivered(): void {
    const slot = this.#unsignalled
    if (slot === -1) return
    this.#unsignalled = -1
    if (this.#signals === undefined || this.ended) return
    this.signalPassed()
    const record = this.window.at(slot)!
    this.#delivered.record = record
    this.#signals.next(this.#delivered)
    this.#delivered.record = nobody
    if (this.#readTo > record.batch.offset(record.index) + 1) this.#signalPassed(this.#readTo)
  }

  /** Signals to the barrier how far records were completed while they were delivered. To be called before it is flushed. */
  signalPassed(): void {
    const position = this.#passedUnsignalled
    if (position === -1) return
    this.#passedUnsignalled = -1
    if (!this.ended) this.#signalPassed(position)
  }

  #signalPassed(offset: number): void {
    this.#signals?.next({ type: 'passed', topic: this.topic, partition: this.partition, offset })
  }

  #admit(record: DeliveredRecord): void {
    if (this.#finished.length > 0 && this.#isFinished(record.batch.offset(record.index))) return this.complete(record)
    const admission = this.reading.admit(this, record)
    if (admission === undefined) return
    const { stream, dueIn } = admission
    if (this.#fence !== undefined && !this.#mayGoOut(this.#fence, record)) return
    if (dueIn > 0) this.#postpone(record, dueIn)
    else if (stream.open && this.reading.active && (this.#waiting.empty || !this.#waiting.has(stream)))
      this.#give(record, stream)
    else this.#wait(record, stream)
  }

  /** False: it stands behind another of its key, or follows one to the DLQ. */
  #mayGoOut(fence: KeyFence, record: DeliveredRecord): boolean {
    if (!fence.enter(record)) {
      this.phases.move(record, 'fenced')
      return false
    }
    return !this.#sendsAfter(fence, record)
  }

  #sendsAfter(fence: KeyFence, record: DeliveredRecord): boolean {
    const before = fence.follows(record)
    if (before === undefined) return false
    this.phases.move(record, 'waiting')
    record.fail(new KeyFenceError(this.topic, this.partition, before), { retry: false })
    return true
  }

  /** The next of the key of a record that is completed. A route that is done at once gets here from within. */
  #letNextOut(fence: KeyFence, completed: DeliveredRecord): void {
    const next = fence.leave(completed)
    if (next === undefined) return
    this.#letOut.push(next)
    if (this.#letOut.length > 1) return
    for (const record of this.#letOut) {
      if (this.#sendsAfter(fence, record)) continue
      this.phases.move(record, 'waiting')
      this.#wait(record, this.reading.streamOf(record)!)
    }
    this.#letOut.length = 0
    this.drainSoon()
  }

  /** Asked for rising offsets only. */
  #isFinished(offset: number): boolean {
    while (this.#finished.length > 0 && this.#finished[0]![1] < offset) this.#finished.shift()
    return this.#finished.length > 0 && this.#finished[0]![0] <= offset
  }

  /** A record that waited goes to its stream. */
  hand(record: DeliveredRecord, stream: StreamTopic): void {
    this.#delayed.forget(record)
    this.#give(record, stream)
  }

  #give(record: DeliveredRecord, stream: StreamTopic): void {
    this.phases.give(record)
    this.countsOf(record).delivered++
    if (this.#traced) traceSync(receiveChannel, { ...this.client, record }, () => stream.next(record))
    else stream.next(record)
  }

  /** A copy counts under the topic that it was first published to. */
  countsOf(record: DeliveredRecord): TopicCounts {
    return this.#counts ?? this.host.counters.of(record.origin?.topic ?? this.topic)
  }

  #wait(record: DeliveredRecord, stream: StreamTopic): void {
    this.#waiting.add(record, stream)
    if (this.reading.kind === 'retry' && !stream.open) this.#delayed.park(record)
  }

  #postpone(record: DeliveredRecord, delay: number): void {
    this.phases.move(record, 'not-due')
    this.#delayed.add(record, delay)
  }

  #pass(position: number): void {
    this.#readTo = position
    if (this.reading.strict) this.#gate = position
    this.#signalPassed(position)
    if (this.window.span === 0) this.#advance()
  }

  /**
   * On a topic of its own a record that never settles stops its partition after `maxInFlight` more. A retry that is not
   * due and, on a topic that many share, one whose stream is closed hold back nobody: what waits like that, and what is
   * done behind it, has a bound of its own.
   */
  #hasRoom(): boolean {
    const { span, completedBehind, head } = this.window
    const { maxInFlight, kind } = this.reading
    // Mostly: the rest can only leave more room.
    if (span < maxInFlight && span < maxHeldRecords) return true
    const waiting = this.#delayed.size + (kind === 'retry' ? this.#waiting.parked : 0)
    const patient = kind === 'retry' || this.window.at(head)?.phase === 'not-due'
    return patient
      ? span < maxHeldRecords && span - completedBehind - waiting < maxInFlight
      : span - waiting < maxInFlight
  }

  #gateIsOpen(): boolean {
    if (this.#gate === undefined) return true
    if (this.window.span > 0) return false
    if (this.#signals !== undefined && !this.isCommittedTo(this.#gate)) return false
    this.#gate = undefined
    return true
  }

  /**
   * Stops the fetches of this partition while batches wait. They go on before the last of these is delivered, so that the
   * broker works meanwhile: what is left then is at most half of what the fetches before brought, and is memory.
   */
  #regulate(): void {
    if (this.ended) return
    const isEmpty = this.#queue.length === 0
    if (this.#fetching) {
      if (this.reading.active && (isEmpty || this.#broughtBytes === 0)) {
        if (isEmpty) this.#broughtBytes = 0
        return
      }
      this.#fetching = false
      this.host.pauseFetching(this)
    } else if (this.reading.active && this.#leftBytes <= this.#broughtBytes / 2 && this.#hasRoom()) {
      this.#fetching = true
      this.#broughtBytes = 0
      this.host.resumeFetching(this)
    }
  }

  // ── Out: settlements ─────────────────────────────────────────────────────────────────────────────────────────────

  acked(record: DeliveredRecord): void {
    this.countsOf(record).acked++
    if (!settleChannel.hasSubscribers) return this.complete(record)
    const message = { ...this.client, record, how: 'ack' as const, reason: undefined }
    traceSync(settleChannel, message, () => this.complete(record))
  }

  failed(record: DeliveredRecord, reason: unknown, retry: boolean, stage: FailureStage): void {
    this.countsOf(record).failed++
    if (!settleChannel.hasSubscribers) return this.#route(record, reason, retry, stage)
    const message = { ...this.client, record, how: 'fail' as const, reason }
    traceSync(settleChannel, message, () => this.#route(record, reason, retry, stage))
  }

  #route(record: DeliveredRecord, reason: unknown, retry: boolean, stage: FailureStage): void {
    this.phases.move(record, 'routing')
    this.window.replace(record)
    this.reading.routeOf(record).next(new Failed(record, reason, record.attempt, retry, stage))
  }

  /** How many keys its fence remembers, if it is full and may not take the record's key, too. */
  fullFenceOf(record: DeliveredRecord): number | undefined {
    return this.#fence?.isFullFor(record) === true ? this.#fence.maxKeys : undefined
  }

  routed(record: DeliveredRecord, disposition: Disposition): void {
    if (this.ended || record.phase === 'done') return
    if (disposition === 'dead-lettered') this.#fence?.deadLettered(record)
    this.#countRouted(record, disposition)
    this.complete(record)
  }

  #countRouted(record: DeliveredRecord, disposition: Disposition): void {
    const counts = this.countsOf(record)
    if (disposition === 'retried') counts.retried++
    else if (disposition === 'dead-lettered') counts.deadLettered++
    else if (disposition === 'discarded') counts.discarded++
  }

  /** The record's work is over, whatever it was. */
  complete(record: DeliveredRecord): void {
    this.phases.end(record)
    record.conclude()
    let isInRun = false
    if (record.slot === this.#unsignalled) {
      isInRun = this.#passedUnsignalled !== -1
      this.#unsignalled = -1
      this.#passedUnsignalled = this.#readTo
    } else if (this.#signals !== undefined) {
      this.#completed.record = record
      this.#signals.next(this.#completed)
      this.#completed.record = nobody
    }
    if (!this.window.complete(record.slot)) this.host.commitDue(this)
    else if (isInRun) this.#advanceInRun()
    else this.#advance()
    if (this.#fence !== undefined) this.#letNextOut(this.#fence, record)
    if (this.#whenDone.size > 0) this.#tellDone(record.slot)
    this.#roomMade()
  }

  /**
   * The record stays, and the committed position with it: no step of its route took it, one holds it until it is
   * released, or its pipeline has it behind another that failed, or does not begin with it during a rebalance.
   */
  hold(record: DeliveredRecord, phase: 'unroutable' | 'held' | 'behind' | 'resting'): void {
    // A route that forks may come to hold what another of its ways has completed.
    if (this.ended || record.phase === 'done') return
    // One that its pipeline keeps although it was given back waits for the next subscriber, and is behind nobody.
    if ((phase === 'behind' || phase === 'resting') && record.phase !== 'unsettled') return
    this.phases.move(record, phase)
    // Only a stand-in may have been there, which knows nothing of this.
    this.window.replace(record)
    this.host.deliveryEnded()
  }

  /** A held record goes on in its route or its pipeline; false: it is no longer ours. */
  release(record: DeliveredRecord): boolean {
    if (this.ended) return false
    const { phase } = record
    if (phase === 'held') this.phases.move(record, 'routing')
    else if (phase === 'behind' || phase === 'resting') this.phases.move(record, 'unsettled')
    return true
  }

  routeAgain(record: DeliveredRecord): boolean {
    if (this.ended || record.phase !== 'unroutable') return false
    this.phases.move(record, 'routing')
    return true
  }

  /** Delivers the failed record again after `delay` ms, as the next attempt. */
  redeliver(record: DeliveredRecord, delay: number): void {
    const stream = this.reading.streamOf(record)
    if (this.ended || stream === undefined) return
    // Another delivery stands for it from now on.
    this.phases.move(record, 'done')
    const { batch, index, slot, origin, redeliveries } = record
    const again = new DeliveredRecord(this, batch, index, slot, origin, redeliveries + 1)
    again.stream = record.stream
    this.window.replace(again)
    this.#postpone(again, delay)
    // One that is not due holds back nobody.
    this.#roomMade()
  }

  /** Delivers a record again, as the next attempt, that its pipeline dropped. What still has a part of it settles nothing. */
  redeliverLeaked(record: DeliveredRecord): void {
    record.conclude()
    this.redeliver(record, 0)
    this.host.deliveryEnded()
  }

  #roomMade(): void {
    // What is settled while it is delivered makes room for the loop that delivers it, which goes on by itself.
    if (!this.#draining && !this.#isHeldBack && (this.#queue.length > 0 || !this.#fetching)) this.drainSoon()
    this.host.deliveryEnded()
  }

  /** What was taken in and handed to nobody is decided anew. */
  admitAgain(): void {
    for (const record of this.#waiting.takeAll()) {
      const admission = this.reading.admit(this, record)
      if (admission === undefined) continue
      if (admission.dueIn > 0) this.#postpone(record, admission.dueIn)
      else this.#wait(record, admission.stream)
    }
  }

  /** The record is handed to nobody; `routed` or `giveBack` follows. */
  withhold(record: DeliveredRecord): void {
    record.conclude()
    this.phases.move(record, 'routing')
  }

  /** It was not to be withheld: it waits again. */
  giveBack(record: DeliveredRecord): void {
    if (this.ended) return
    record.reopen()
    this.phases.move(record, 'waiting')
    this.#wait(record, this.reading.streamOf(record)!)
    this.host.deliveryEnded()
  }

  whenDone({ slot }: DeliveredRecord, done: () => void): void {
    if (this.ended || this.window.at(slot) === undefined) return done()
    const others = this.#whenDone.get(slot)
    if (others === undefined) this.#whenDone.set(slot, [done])
    else others.push(done)
  }

  #tellDone(slot: number): void {
    const listeners = this.#whenDone.get(slot)
    if (listeners === undefined) return
    this.#whenDone.delete(slot)
    for (const done of listeners) done()
  }

  settledLate(record: DeliveredRecord): void {
    this.host.reports.event({ type: 'late-settlement', ...recordPlace(record) })
  }

  outrun(record: DeliveredRecord, outrun: Outrun): void {
    this.host.reports.event({ type: 'outrun', ...outrun, ...recordPlace(record) })
  }

  /** The record itself, where only a stand-in was held and the record is still about. */
  #handedOut(held: DeliveredRecord): DeliveredRecord {
    const record = held.handed instanceof WeakRef ? (held.handed as WeakRef<DeliveredRecord>).deref() : undefined
    held.handed = undefined
    if (record === undefined) return held
    this.window.replace(record)
    return record
  }

  /** The stream's subscription ended: what it left unsettled waits, in order, for the next one. */
  rewind(stream: TopicStream): void {
    const left = new Map<StreamTopic, DeliveredRecord[]>()
    for (const held of this.window) {
      const record = this.#handedOut(held)
      if (record.settled || record.phase === 'not-due' || record.phase === 'fenced') continue
      const topic = this.reading.streamOf(record)
      if (topic?.stream !== stream) continue
      // One that was taken in and handed to nobody waits as before.
      if (record.phase !== 'waiting') this.phases.move(record, 'left')
      const ofTopic = left.get(topic)
      if (ofTopic === undefined) left.set(topic, [record])
      else ofTopic.push(record)
    }
    for (const [topic, records] of left) this.#waiting.replace(topic, records)
    this.host.deliveryEnded()
  }

  /** What is to be remembered beside a committed position, in `limit` characters; `leftOut` ranges have no room there. */
  remember(position: bigint, limit?: number): Remembered {
    if (this.window.completedBehind === 0 && this.#finished.length === 0) return nothingToRemember
    // What an earlier assignment finished and this one has not come to yet is as true as before.
    const ahead = this.#finished.filter(([, last]) => last >= this.#readTo)
    const finished = ahead.map(([first, last]): FinishedRange => [Math.max(first, this.#readTo), last])
    const ranges = [...this.window.finishedRanges(), ...finished]
    return encodeFinished(Number(position), this.position < position ? above(ranges, Number(position)) : ranges, limit)
  }

  /** The broker has confirmed everything that was handed to the commits. */
  get isCommitted(): boolean {
    return !this.#isUncertain && this.committed === this.requested && this.#committedMetadata === this.requestedMetadata
  }

  /** The broker has confirmed this position, or a later one. */
  isCommittedTo(position: number): boolean {
    return !this.#isUncertain && this.committed >= BigInt(position)
  }

  /**
   * Takes the place of another assignment, which a seek ended: its position is to be committed, whatever was before.
   */
  follows({ committed, givingUp, endOffset }: Assignment): void {
    this.committed = committed
    this.#isUncertain = this.#signals !== undefined
    this.givingUp = givingUp
    this.endOffset = endOffset
    if (this.#signals !== undefined) this.watch.fallBehind()
  }

  /**
   * Begins where positions are kept elsewhere. What the group has is not lowered: nothing is committed before the position
   * has passed it.
   *
   * @param committed What the group has.
   */
  beginsBeside(committed: number): void {
    this.committed = BigInt(committed)
    if (this.requested < this.committed) this.requested = this.committed
  }

  onCommitted(offset: bigint, metadata: string): void {
    this.committed = offset
    this.#isUncertain = false
    this.#committedMetadata = metadata
    this.watch.committed(offset)
  }

  /** With the strict gate, what was committed may have opened it. */
  openGate(): void {
    if (this.#gate !== undefined) this.drain()
  }

  #advance(): void {
    const head = this.window.at(this.window.head)
    this.position = head === undefined ? this.#readTo : head.batch.offset(head.index)
    this.watch.advanced()
    this.host.commitDue(this)
    this.reading.progressed?.(this)
  }

  /** The same within a run: what the watch and the commits are to know of it, they know of its first record. */
  #advanceInRun(): void {
    this.position = this.#readTo
    this.reading.progressed?.(this)
  }

  // ── Why it waits ─────────────────────────────────────────────────────────────────────────────────────────────────

  get confirmed(): bigint | undefined {
    return this.#signals === undefined ? undefined : this.committed
  }

  get queuedSince(): number | undefined {
    return this.#queue[0]?.at
  }

  queuedRecord(): DeliveredRecord | undefined {
    const queued = this.#queue[0]
    if (queued === undefined || queued.index >= queued.batch.count) return undefined
    return new DeliveredRecord(this, queued.batch, queued.index, -1, undefined, 0)
  }

  isReleased(record: DeliveredRecord): boolean {
    return this.#delayed.isReleased(record)
  }

  dueOf(record: DeliveredRecord): number | undefined {
    return this.#delayed.dueOf(record)
  }

  dues(): ReadonlyMap<DeliveredRecord, number> {
    return this.#delayed.dues()
  }

  /** As `client.metrics()` has it. */
  metrics(): PartitionMetrics {
    const { topic, partition, endOffset, confirmed: committed } = this
    const { inFlight, stuck, resting, held, notDue: delayed } = this.phases
    const position = BigInt(this.position)
    return {
      ...{ topic, partition, position, committed, delayed, held },
      endOffset: endOffset === undefined ? undefined : BigInt(endOffset),
      lag: endOffset === undefined ? undefined : lagOf(BigInt(endOffset), committed ?? position),
      inFlight: inFlight + resting + stuck - held,
      oldestUnsettledSince: this.watch.oldestUnsettledSince(),
      finishedBehind: this.window.completedBehind,
    }
  }

  // ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The assignment is over: nothing is delivered or committed any more, and settling changes nothing. */
  end({ wasMoved = false } = {}): void {
    this.ended = true
    this.#wasMoved = wasMoved
  }

  /** Lets go of everything, once all assignments that end together have: code that waits runs from within here. */
  letGo(): void {
    this.phases.clear()
    this.#queue.length = 0
    this.#queuedBytes = 0
    this.#waiting.clear()
    this.#delayed.end()
    this.watch.end()
    this.#abort?.abort(this.#abortReason())
    for (const slot of [...this.#whenDone.keys()]) this.#tellDone(slot)
    this.host.deliveryEnded()
  }
}
