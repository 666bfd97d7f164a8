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
import { recheckDoubtEvery, Waiting, type WaitingHost } from './waiting.js'

/** The stream that a fetched record is delivered to, and the time until then in ms. */
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
  /** True: the partitions may belong to another member by now. Nothing is delivered until that is decided and `drain` is called. */
  readonly doubtful: boolean
  /** Runs the work in another turn of the event loop, without a delay. User code that is on the stack has returned by then. */
  soon(work: () => void): void
  pauseFetching(assignment: Assignment): void
  resumeFetching(assignment: Assignment): void
  /** Emits the batch with the record at `offset`; if that record was deleted, the batch with the next one. */
  readAt(assignment: Assignment, offset: number): Observable<RecordBatch>
  /** The driver delivered the record at `offset` where only `expected` or a later one may follow. Ends the client. */
  outOfOrder(assignment: Assignment, offset: number, expected: number): void
  /** The completed prefix grew. */
  commitDue(assignment: Assignment): void
  /** A record was completed or held, so a rebalance or a close need not wait for it. */
  deliveryEnded(): void
}

/** How one kind of topic is read. */
export interface Reading {
  readonly kind: RecordSource['kind']
  readonly maxInFlight: number
  /** The strict gate; see `TopicOptions.batch`. */
  readonly strict: boolean
  /** At most one record of each key is delivered and not completed. Undefined: keys have no order. */
  readonly keyFence: KeyFenceOptions | undefined
  /** Whether the partition is fetched, and fetched records may be delivered. */
  readonly active: boolean
  /** Whether the next record, the one at `offset`, may enter the window now. */
  accepts(assignment: Assignment, offset: number): boolean
  /** Lets operators suspend the topic. Absent if the partition is read for several pipelines. */
  readonly supply?: Supply
  /** The reason why nothing is delivered, for `stalls()`. Undefined if there is none. */
  closedBecause(): StallReason | undefined
  /**
   * Decides where a record that has just entered the window is delivered, and sets the origin and stream of a copy. Returns
   * undefined after it has completed or failed the record itself, because no stream takes it.
   */
  admit(assignment: Assignment, record: DeliveredRecord): Admission | undefined
  /** The stream of an admitted record; undefined if there is none. */
  streamOf(record: DeliveredRecord): StreamTopic | undefined
  /** The failure route of the record. */
  routeOf(record: DeliveredRecord): FailureRoute
  /** Called when the completed prefix has grown. */
  progressed?(assignment: Assignment): void
}

interface QueuedBatch {
  readonly batch: RecordBatch
  index: number
  readonly at: number
}

/** The maximum number of records of one partition that wait, or are completed behind one that waits: some 20 MB. The rest stays in Kafka. */
const maxHeldRecords = 200_000

/** At least 0: the known end may be older than the position, and the log may have been truncated. */
function lagOf(end: bigint, position: bigint): bigint {
  return end > position ? end - position : 0n
}

/** The parts of the ranges at or above `position`. The group's position may be ahead of the one that is kept outside Kafka. */
function above(ranges: readonly FinishedRange[], position: number): FinishedRange[] {
  return ranges.flatMap(([first, last]): FinishedRange[] =>
    last < position ? [] : [[Math.max(first, position), last]],
  )
}

const nothingToRemember: Remembered = { metadata: '', leftOut: 0 }

/**
 * One assignment of one partition, from `assigned` to `revoked`, `lost` or the close. It owns the window, the queue, the
 * timers and the signal, so that all of them end with it in one step.
 */
export class Assignment implements RecordOwner, StreamFeed, StallWatchHost, WaitingHost {
  readonly window = new DeliveryWindow()
  /** Counts its records by whether a rebalance or a close waits for them. */
  readonly phases = new Phases()
  readonly watch: StallWatch
  /** The end of the log as last reported by the broker. */
  endOffset: number | undefined
  /** The counts of all its records, if they are all of one topic. */
  readonly #counts: TopicCounts | undefined
  /** Whether `rxmika:receive` has subscribers. Checked once per `drain`, not per record. */
  #traced = false
  ended = false
  #wasMoved = false
  /** A rebalance may revoke it. Nothing is delivered until that is decided. */
  givingUp = false
  /** The latest position that was requested to be committed. */
  requested: bigint
  /** The metadata that was requested with it. */
  requestedMetadata: string
  /** The latest position that the broker has confirmed. */
  committed: bigint
  #committedMetadata: string
  /** True after a seek, until the broker has confirmed the new position: `committed` does not count meanwhile. */
  #isUncertain = false
  readonly #queue: QueuedBatch[] = []
  /** Bytes of all batches in the queue, delivered records included. */
  #queuedBytes = 0
  /** Bytes fetched since fetching was last resumed, or since the queue was last empty. */
  #fetchedBytes = 0
  readonly #waiting = new Waiting(this)
  /** Offsets completed under an earlier assignment. They are not delivered again. */
  readonly #finished: FinishedRange[]
  readonly #delayed: DelayedRecords
  readonly #fence: KeyFence | undefined
  /** Records that the fence has released and that are not delivered yet. */
  readonly #letOut: DeliveredRecord[] = []
  /** Callbacks by the slot of their record, called once it is completed or the assignment has ended. */
  readonly #whenDone = new Map<number, (() => void)[]>()
  #fetching = false
  /** The queue waits for its pipeline and not for room in the window. The stream calls `drain` when it takes more. */
  #isHeldBack = false
  #draining = false
  /** `drain` is scheduled by `drainSoon`. */
  #turnTaken = false
  /** `drain` is scheduled by `drainLater`. */
  #laterTaken = false
  readonly #turn = () => {
    this.#turnTaken = false
    this.drain()
  }
  /** With the strict gate: the position after the current batch. */
  #gate: number | undefined
  /** The position once everything in the window is completed. */
  #readTo: number
  #abort: AbortController | undefined
  /** The position moved during `drain`. What follows from that is done once, at its end. */
  #hasAdvanced = false

  constructor(
    readonly handle: PartitionAssignment,
    /** As users name it. */
    readonly topic: string,
    readonly reading: Reading,
    readonly host: AssignmentHost,
    /** Whether its positions are committed: the client has a group. */
    readonly committing: boolean,
  ) {
    this.#readTo = handle.position
    this.requested = this.committed = BigInt(handle.position)
    this.requestedMetadata = this.#committedMetadata = handle.metadata
    this.#finished = committing ? decodeFinished(handle.position, handle.metadata) : []
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

  /** Everything below this offset is completed, or is not a record to deliver. */
  get position(): number {
    const head = this.window.at(this.window.head)
    return head === undefined ? this.#readTo : head.batch.offset(head.index)
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
      // A listener per record in a handler is not a leak. By default Node warns of more than ten.
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
    this.#fetchedBytes += batch.byteLength
    this.drain()
    if (this.#queue.length > 0) this.watch.look()
  }

  /**
   * Delivers what may be delivered now. Called whenever something that held records back has changed, and only if no operator
   * of a pipeline can be on the stack: in a turn of the driver or the scheduler, or at a subscription. Everything else that
   * makes room calls `drainSoon`.
   */
  drain(): void {
    // A subscription from within a delivery calls this again. The loop below continues by itself.
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
      if (this.#hasAdvanced) this.#advanced()
    }
    this.#regulate()
    this.#drainAgain()
  }

  /**
   * Delivers in another turn; several calls share one. A record may be settled while an operator emits: `bufferTime` emits
   * its buffer, and the subscriber acks the records. A record delivered by that ack would reach `bufferTime` before it has a
   * new buffer, and would be dropped. Other operators do the same.
   */
  drainSoon(): void {
    if (this.#turnTaken || this.ended) return
    this.#turnTaken = true
    this.host.soon(this.#turn)
  }

  /**
   * A pipeline that ended during a delivery may have been subscribed to again at once (`retry()`, `repeat()`). Records that
   * wait for it are delivered in another turn, so that a pipeline that always fails does not block the event loop.
   */
  #drainAgain(): void {
    if (this.#turnTaken || this.#waiting.empty || !this.mayHandOut) return
    if (this.#waiting.anyOpen) this.drainLater()
  }

  soon(work: () => void): void {
    this.host.soon(work)
  }

  /** Delivers in a later turn, so that other work runs before. */
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

  /** Requests the bytes of the records from `at` on that were released while their stream was closed. Then they wait again. */
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
        if (queued.index % recheckDoubtEvery === recheckDoubtEvery - 1 && this.host.doubtful) return
        if (!this.#hasRoom() || !this.#gateIsOpen()) return
        const offset = batch.offset(queued.index)
        if (offset < this.#readTo) return this.host.outOfOrder(this, offset, this.#readTo)
        if (!this.reading.accepts(this, offset)) {
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
        this.#take(batch, index, last ? batch.lastOffset : offset)
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

  /**
   * Puts the record into the window, and delivers it to its stream or lets it wait.
   *
   * @param last The offset up to which nothing follows it: of the record, or of its batch if it is the last one.
   */
  #take(batch: RecordBatch, index: number, last: number): void {
    const record = this.#enter(batch, index)
    this.#readTo = last + 1
    if (index === batch.count - 1 && this.reading.strict) this.#gate = this.#readTo
    this.#admit(record)
  }

  /**
   * Puts a new record into the window. A function of its own, because V8 inlines the constructor here, and does not in the
   * longer `#take`. Not inlined, a constructor takes 130 instructions more, and a write barrier for every field.
   */
  #enter(batch: RecordBatch, index: number): DeliveredRecord {
    const record = new DeliveredRecord(this, batch, index, this.window.tail, undefined, 0)
    this.window.push(record)
    return record
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

  /** Returns false if the record waits for an earlier one of its key, or follows one to the DLQ. */
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

  /** Releases the next record of the completed record's key. Re-entered if that record's route completes synchronously. */
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

  /** Offsets of successive calls must increase. */
  #isFinished(offset: number): boolean {
    while (this.#finished.length > 0 && this.#finished[0]![1] < offset) this.#finished.shift()
    return this.#finished.length > 0 && this.#finished[0]![0] <= offset
  }

  /** Delivers a record that waited. */
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

  /** A copy is counted under the topic that it was first published to. */
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
    this.#readTo = Math.max(this.#readTo, position)
    if (this.reading.strict) this.#gate = this.#readTo
    if (this.window.span === 0) this.#advance()
  }

  /**
   * Whether the window has room. On an ordinary topic, a record that never settles stops its partition after `maxInFlight`
   * more. A retry that is not due, and on the shared retry topic a record whose stream is closed, do not stop it: such records,
   * and those completed behind them, have the bound `maxHeldRecords`.
   */
  #hasRoom(): boolean {
    const { span, completedBehind, head } = this.window
    const { maxInFlight, kind } = this.reading
    // The usual case. What follows can only allow more.
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
    if (this.committing && !this.isCommittedTo(this.#gate)) return false
    this.#gate = undefined
    return true
  }

  /**
   * Pauses fetching while more than half of the bytes of the previous fetches waits, so that the broker works while the rest
   * is delivered. One fetch beyond that may be in memory.
   */
  #regulate(): void {
    if (this.ended) return
    const isSoonEmpty = this.reading.active && this.#leftBytes <= this.#fetchedBytes / 2
    const hasRoom = (this.#fetching && this.#queue.length === 0) || this.#hasRoom()
    if (isSoonEmpty && hasRoom) {
      this.#fetchedBytes = 0
      if (this.#fetching) return
      this.#fetching = true
      this.host.resumeFetching(this)
    } else if (this.#fetching && !(this.reading.active && this.#fetchedBytes === 0)) {
      this.#fetching = false
      this.host.pauseFetching(this)
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

  /** The limit of the fence if it is full and cannot add the record's key. Undefined if it can. */
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

  /** Completes the record. */
  complete(record: DeliveredRecord): void {
    this.phases.end(record)
    record.conclude()
    if (this.window.complete(record.slot)) this.#advance()
    else this.host.commitDue(this)
    if (this.#fence !== undefined) this.#letNextOut(this.#fence, record)
    if (this.#whenDone.size > 0) this.#tellDone(record.slot)
    this.#roomMade()
  }

  /**
   * Keeps the record uncompleted without anything waiting for it: no step of its route took it, a step holds it, or its
   * pipeline keeps it behind a failed record of its key or until a rebalance is over.
   */
  hold(record: DeliveredRecord, phase: 'unroutable' | 'held' | 'behind' | 'resting'): void {
    // A route that forks may hold a record that its other branch has completed.
    if (this.ended || record.phase === 'done') return
    // A subscription that has ended may still keep the record. Then the record waits for the next subscriber.
    if ((phase === 'behind' || phase === 'resting') && record.phase !== 'unsettled') return
    this.phases.move(record, phase)
    // The window may hold only a stand-in for leak detection, which does not know the phase.
    this.window.replace(record)
    this.host.deliveryEnded()
  }

  /** A held record continues on its route or in its pipeline. Returns false if the assignment has ended. */
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
    // From now on, another delivery represents the record.
    this.phases.move(record, 'done')
    const { batch, index, slot, origin, redeliveries } = record
    const again = new DeliveredRecord(this, batch, index, slot, origin, redeliveries + 1)
    again.stream = record.stream
    this.window.replace(again)
    this.#postpone(again, delay)
    // A record that is not due does not count towards `maxInFlight`.
    this.#roomMade()
  }

  /** Delivers a record that its pipeline dropped again, as the next attempt. Remaining references cannot settle the old delivery. */
  redeliverLeaked(record: DeliveredRecord): void {
    record.conclude()
    this.redeliver(record, 0)
    this.host.deliveryEnded()
  }

  #roomMade(): void {
    // During a delivery, the loop that delivers continues by itself.
    if (!this.#draining && !this.#isHeldBack && (this.#queue.length > 0 || !this.#fetching)) this.drainSoon()
    this.host.deliveryEnded()
  }

  /** Decides again about the records that were admitted and not delivered. */
  admitAgain(): void {
    for (const record of this.#waiting.takeAll()) {
      const admission = this.reading.admit(this, record)
      if (admission === undefined) continue
      if (admission.dueIn > 0) this.#postpone(record, admission.dueIn)
      else this.#wait(record, admission.stream)
    }
  }

  /** Takes the record out of delivery; `routed` or `giveBack` follows. */
  withhold(record: DeliveredRecord): void {
    record.conclude()
    this.phases.move(record, 'routing')
  }

  /** Undoes `withhold`: the record waits again. */
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

  /** The record itself, if the window holds a stand-in for leak detection and the record still exists. Otherwise `held`. */
  #handedOut(held: DeliveredRecord): DeliveredRecord {
    const record = held.handed instanceof WeakRef ? (held.handed as WeakRef<DeliveredRecord>).deref() : undefined
    held.handed = undefined
    if (record === undefined) return held
    this.window.replace(record)
    return record
  }

  /** A subscription of the stream has ended. The records that it left unsettled wait, in order, for the next one. */
  rewind(stream: TopicStream): void {
    const left = new Map<StreamTopic, DeliveredRecord[]>()
    for (const held of this.window) {
      const record = this.#handedOut(held)
      if (record.settled || record.phase === 'not-due' || record.phase === 'fenced') continue
      const topic = this.reading.streamOf(record)
      if (topic?.stream !== stream) continue
      // A record that was not delivered yet waits as before.
      if (record.phase !== 'waiting') this.phases.move(record, 'left')
      const ofTopic = left.get(topic)
      if (ofTopic === undefined) left.set(topic, [record])
      else ofTopic.push(record)
    }
    for (const [topic, records] of left) this.#waiting.replace(topic, records)
    this.host.deliveryEnded()
  }

  /** The metadata for a committed position, in at most `limit` characters. `leftOut` is the number of ranges that did not fit. */
  remember(position: bigint, limit?: number): Remembered {
    if (this.window.completedBehind === 0 && this.#finished.length === 0) return nothingToRemember
    // Finished under an earlier assignment, and not reached by this one yet: still valid.
    const ahead = this.#finished.filter(([, last]) => last >= this.#readTo)
    const finished = ahead.map(([first, last]): FinishedRange => [Math.max(first, this.#readTo), last])
    const ranges = [...this.window.finishedRanges(), ...finished]
    return encodeFinished(Number(position), this.position < position ? above(ranges, Number(position)) : ranges, limit)
  }

  /** True if the broker has confirmed everything that was requested to be committed. */
  get isCommitted(): boolean {
    return !this.#isUncertain && this.committed === this.requested && this.#committedMetadata === this.requestedMetadata
  }

  /** True if the broker has confirmed this position or a later one. */
  isCommittedTo(position: number): boolean {
    return !this.#isUncertain && this.committed >= BigInt(position)
  }

  /**
   * Replaces an assignment that a seek has ended. Its position is committed even if it is lower than before.
   */
  follows({ committed, givingUp, endOffset }: Assignment): void {
    this.committed = committed
    this.#isUncertain = this.committing
    this.givingUp = givingUp
    this.endOffset = endOffset
    if (this.committing) this.watch.fallBehind()
  }

  /**
   * Begins at a position that is kept outside Kafka. The group's position is not lowered: nothing is committed until the
   * position has passed it.
   *
   * @param committed The position of the group.
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

  /** A commit was confirmed, which may open the strict gate. */
  openGate(): void {
    if (this.#gate !== undefined) this.drain()
  }

  #advance(): void {
    if (this.#draining) this.#hasAdvanced = true
    else this.#advanced()
    this.reading.progressed?.(this)
  }

  #advanced(): void {
    this.#hasAdvanced = false
    if (this.ended) return
    this.watch.advanced()
    this.host.commitDue(this)
  }

  // ── Why it waits ─────────────────────────────────────────────────────────────────────────────────────────────────

  get confirmed(): bigint | undefined {
    return this.committing ? this.committed : undefined
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

  /** For `client.metrics()`. */
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

  /** Ends the assignment: nothing is delivered or committed any more, and settling changes nothing. */
  end({ wasMoved = false } = {}): void {
    this.ended = true
    this.#wasMoved = wasMoved
  }

  /** Releases everything. Called once all assignments that end together have ended, because it runs callbacks of waiting code. */
  dispose(): void {
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
