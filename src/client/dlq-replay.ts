import { concat, defer, EMPTY, ignoreElements, mergeMap, Observable, of, type Subscriber, take, tap, timer } from 'rxjs'
import type { Clock } from '../clock.js'
import { RxMikaError } from '../errors.js'
import { synchronous } from '../operators/synchronous.js'
import type { RecordMetadata } from '../publish.js'
import type { ReadRecord } from '../read-record.js'
import type { ConsumeRecord, DeliveredRecord } from '../record.js'
import { DlqLedger, ledgerNoteOf } from '../retry/dlq-ledger.js'
import type { Assignment } from './assignment.js'
import type { DlqReplayOptions, DlqReplayProgress } from './client.js'
import { Pace } from './pace.js'

/** How often an endless replay with a filter checks the topic for new records, ms. */
const checkEvery = 1_000

interface Replay {
  readonly subscriber: Subscriber<DlqReplayProgress>
  readonly forever: boolean
  readonly filter: DlqReplayOptions['filter']
  /** True: records are delivered with attempt 1. */
  readonly fresh: boolean
  readonly pace: Pace | undefined
  /** The end of each partition at subscription, or at the last check; undefined until the broker has answered. */
  ends: ReadonlyMap<number, number> | undefined
  /** Whether the ledger of a partition, from the group's position on, is being read or has been read. */
  readonly noted: Map<number, 'reading' | 'read'>
  /** How many records that the filter left out were written to each partition after that end. */
  readonly writtenBack: Map<number, number>
  /** True: a check for new records is scheduled or being answered. */
  isChecking: boolean
  delivered: number
  skipped: number
}

/** What a replay needs of the client. */
export interface DlqReplayHost {
  readonly clock: Clock
  /** The client's assignments of the DLQ topic; undefined until the first rebalance is over. */
  dlqAssignments(): readonly Assignment[] | undefined
  /** Whether this member may get partitions of the DLQ topic without another rebalance. */
  awaitsDlq(): boolean
  /** Emits the end offsets of the DLQ topic's partitions, once connected. */
  endOffsets(): Observable<ReadonlyMap<number, number>>
  /** Reads the DLQ topic from these offsets to its ends. Partitions that are not in the map are not read. */
  read(from: ReadonlyMap<number, bigint>): Observable<ReadRecord>
  /** Full name. */
  readonly group: string
  /**
   * Writes a record of the DLQ topic to the end of its partition, byte for byte, and emits once that is acknowledged.
   * Retriable failures are retried until the record's assignment ends; then it completes without a value.
   */
  writeBack(record: DeliveredRecord): Observable<RecordMetadata>
}

/**
 * Reads the DLQ topic while there is a subscriber.
 *
 * A member of the group always has its partitions of the topic assigned, but paused. So a replay begins where the last one
 * stopped, at the group's committed position, and needs no rebalance.
 *
 * A group stores nothing but a position. So a record that a filter leaves out is written to the end of the topic and
 * completed when that copy is acknowledged: the position passes the record, and the next replay finds the copy.
 */
export class DlqReplays {
  #replay: Replay | undefined
  /** The dead letters that the command line has completed. */
  readonly #ledger: DlqLedger

  constructor(readonly host: DlqReplayHost) {
    this.#ledger = new DlqLedger(host.group)
  }

  get active(): boolean {
    return this.#replay?.ends !== undefined
  }

  /**
   * Whether the record at this offset may be delivered now. Not from the end of the replay on, where its own failures and the
   * records it left out are; nor before the partition's ledger is read; nor faster than `rate`.
   */
  accepts(partition: number, offset: number): boolean {
    const replay = this.#replay
    if (replay?.ends === undefined || replay.noted.get(partition) !== 'read') return false
    const isWithin = isEndless(replay) || offset < (replay.ends.get(partition) ?? 0)
    return isWithin && (replay.pace === undefined || replay.pace.isOpen)
  }

  /** Whether a dead letter was redriven or discarded, so that it is skipped. */
  isDealtWith(partition: number, offset: number): boolean {
    return this.#ledger.has(partition, offset)
  }

  /** Counts a skipped record: of another group, or completed by the command line. */
  skipped(): void {
    if (this.#replay !== undefined) this.#count(this.#replay, 'skipped')
  }

  /**
   * Decides about a record of this group. Returns the delay before its delivery, ms; without an active replay it waits for the
   * next one. Undefined: it is left out, and needs no more work.
   */
  takes(assignment: Assignment, record: DeliveredRecord): number | undefined {
    const replay = this.#replay
    if (replay === undefined) return 0
    try {
      if (replay.filter !== undefined && !filtered(replay.filter, record)) {
        this.#leaveOut(replay, assignment, record)
        return undefined
      }
    } catch (error) {
      this.#finish(replay, { error })
      return 0
    }
    // A filter should not settle records. If it does, that counts.
    if (record.settled) return undefined
    // After the filter, which sees the real attempt.
    if (replay.fresh && record.origin !== undefined) record.origin = { ...record.origin, retries: 0 }
    this.#count(replay, 'delivered')
    return replay.pace?.take() ?? 0
  }

  /** A position of the DLQ topic has moved, or the assignments have changed. */
  progressed(): void {
    const replay = this.#replay
    if (replay?.ends === undefined || this.host.dlqAssignments() === undefined) return
    this.#readNewPartitions(replay, replay.ends)
    const { remaining } = this.#emit(replay)
    if (remaining > 0 || replay !== this.#replay || this.host.awaitsDlq()) return
    if (!replay.forever) this.#finish(replay, {})
    else if (!isEndless(replay)) this.#checkLater(replay)
  }

  run(options: DlqReplayOptions = {}): Observable<DlqReplayProgress> {
    return new Observable(subscriber => {
      if (this.#replay !== undefined) {
        subscriber.error(new RxMikaError('RXMIKA_REPLAY_RUNNING', 'a replay of the DLQ topic is running already'))
        return
      }
      const replay: Replay = {
        subscriber,
        forever: options.until === 'forever',
        filter: options.filter,
        fresh: options.attempts === 'fresh',
        pace: options.rate === undefined ? undefined : new Pace(options.rate, this.host.clock, () => this.#drain()),
        ends: undefined,
        noted: new Map(),
        writtenBack: new Map(),
        isChecking: false,
        delivered: 0,
        skipped: 0,
      }
      this.#replay = replay
      subscriber.add(() => this.#leave(replay))
      subscriber.add(
        this.host
          .endOffsets()
          .pipe(
            mergeMap(ends =>
              concat(
                defer(() => this.#readLedger(replay, ends)),
                of(ends),
              ),
            ),
          )
          .subscribe({
            next: ends => this.#go(replay, ends),
            error: error => this.#finish(replay, { error }),
          }),
      )
    })
  }

  /**
   * Reads the ledger's notes about dead letters that this replay may find, before any of these is delivered. A note comes after
   * the dead letters that it is about. Notes written later are not read.
   */
  #readLedger(replay: Replay, ends: ReadonlyMap<number, number>): Observable<never> {
    const from = new Map<number, bigint>()
    for (const { partition, position } of this.host.dlqAssignments() ?? []) {
      if (replay.noted.has(partition)) continue
      const isEmpty = position >= (ends.get(partition) ?? 0)
      replay.noted.set(partition, isEmpty ? 'read' : 'reading')
      if (!isEmpty) from.set(partition, BigInt(position))
    }
    if (from.size === 0) return EMPTY
    return this.host.read(from).pipe(
      tap({
        next: record => {
          const note = ledgerNoteOf(record)
          if (note !== undefined && note.partition === record.partition) this.#ledger.add(note)
        },
        complete: () => {
          for (const partition of from.keys()) replay.noted.set(partition, 'read')
        },
      }),
      ignoreElements(),
    )
  }

  /** Reads the ledger of partitions that this member gained since the replay began. */
  #readNewPartitions(replay: Replay, ends: ReadonlyMap<number, number>): void {
    if ((this.host.dlqAssignments() ?? []).every(({ partition }) => replay.noted.has(partition))) return
    replay.subscriber.add(
      this.#readLedger(replay, ends).subscribe({
        error: error => this.#finish(replay, { error }),
        complete: () => {
          if (replay === this.#replay) this.#drain()
        },
      }),
    )
  }

  end(error: unknown): void {
    if (this.#replay !== undefined) this.#finish(this.#replay, error === undefined ? {} : { error })
  }

  /** Leaves before it tells the subscriber, who may begin the next replay within that. */
  #finish(replay: Replay, end: { readonly error?: unknown }): void {
    this.#leave(replay)
    if ('error' in end) replay.subscriber.error(end.error)
    else replay.subscriber.complete()
  }

  #leave(replay: Replay): void {
    if (replay !== this.#replay) return
    this.#replay = undefined
    replay.pace?.end()
    this.#drain()
  }

  #go(replay: Replay, ends: ReadonlyMap<number, number>): void {
    const begins = replay.ends === undefined
    replay.ends = ends
    replay.writtenBack.clear()
    // Records that an earlier replay read and did not deliver are decided about again.
    if (begins) for (const assignment of this.host.dlqAssignments() ?? []) assignment.admitAgain()
    this.#drain()
    this.progressed()
  }

  #leaveOut(replay: Replay, assignment: Assignment, record: DeliveredRecord): void {
    if (record.settled) return
    assignment.withhold(record)
    this.host.writeBack(record).subscribe({
      next: () => {
        replay.writtenBack.set(assignment.partition, (replay.writtenBack.get(assignment.partition) ?? 0) + 1)
        if (replay === this.#replay) this.#count(replay, 'skipped')
        assignment.routed(record, 'dead-lettered')
      },
      // Refused for good: the record stays where it is, for a later replay.
      error: error => {
        assignment.giveBack(record)
        if (replay === this.#replay) this.#finish(replay, { error })
      },
    })
  }

  /**
   * The records that were left out now follow the end. They would be read and left out again and again, so nothing is read
   * until something else has been written.
   */
  #checkLater(replay: Replay): void {
    if (replay.isChecking) return
    replay.isChecking = true
    const ends = timer(checkEvery, this.host.clock.scheduler).pipe(
      mergeMap(() => this.host.endOffsets()),
      take(1),
    )
    replay.subscriber.add(
      ends.subscribe({
        next: ends => {
          replay.isChecking = false
          if (this.#hasNews(replay, ends)) this.#go(replay, ends)
          else this.#checkLater(replay)
        },
        error: error => this.#finish(replay, { error }),
      }),
    )
  }

  #hasNews(replay: Replay, ends: ReadonlyMap<number, number>): boolean {
    const known = (partition: number) => (replay.ends?.get(partition) ?? 0) + (replay.writtenBack.get(partition) ?? 0)
    return (this.host.dlqAssignments() ?? []).some(({ partition }) => (ends.get(partition) ?? 0) > known(partition))
  }

  #count(replay: Replay, what: 'delivered' | 'skipped'): void {
    replay[what]++
    this.#emit(replay)
  }

  #emit(replay: Replay): DlqReplayProgress {
    let remaining = 0
    for (const { partition, position } of this.host.dlqAssignments() ?? []) {
      remaining += Math.max(0, (replay.ends?.get(partition) ?? 0) - position)
    }
    const progress = { delivered: replay.delivered, skipped: replay.skipped, remaining }
    replay.subscriber.next(progress)
    return progress
  }

  #drain(): void {
    for (const assignment of this.host.dlqAssignments() ?? []) assignment.drainSoon()
  }
}

function filtered(filter: (record: ConsumeRecord) => boolean, record: DeliveredRecord): boolean {
  return synchronous('replayDlq: filter must return a boolean', filter(record))
}

/** Without a filter nothing is written back, so a replay can go on without checks. */
function isEndless({ forever, filter }: Replay): boolean {
  return forever && filter === undefined
}
