import { type Observable, Subscription } from 'rxjs'
import type { Clock } from '../clock.js'
import type { DeliveredRecord } from '../record.js'
import type { RecordBatch } from '../record-batch.js'
import { DueQueue } from './due-queue.js'

/** How many bytes of records that wait are kept; beyond that a record's bytes are let go and read again. */
const bytesKept = 4 * 1024 * 1024
/** After a failed read, ms. */
const readAgainAfter = 1_000

export interface DelayedRecordsHost {
  readonly clock: Clock
  /** The batch that holds the record at `offset`, or what comes after it where it is gone. */
  readAt(offset: number): Observable<RecordBatch>
  /** The record is due, its bytes are there. */
  due(record: DeliveredRecord): void
  /** The record is no longer in the log. */
  gone(record: DeliveredRecord): void
}

/**
 * The records of one assignment that are not due yet, each with its own time: none waits behind another; and the bytes
 * of those that wait for a stream to open.
 *
 * What waits costs a few words each, not its bytes: beyond a few MiB they are let go, and read again from Kafka when
 * the record is wanted. So tens of thousands of records that wait for minutes hold neither memory nor those that are due.
 */
export class DelayedRecords {
  readonly #queue = new DueQueue<DeliveredRecord>()
  readonly #work = new Subscription()
  #timer: { readonly due: number; readonly subscription: Subscription } | undefined
  /** The bytes that waiting records have of their own. */
  readonly #kept = new Set<RecordBatch>()
  #bytes = 0

  constructor(readonly host: DelayedRecordsHost) {}

  get size(): number {
    return this.#queue.size
  }

  /** When a record is due that waits here, by the monotonic clock. */
  dueOf(record: DeliveredRecord): number | undefined {
    return this.#queue.dueOf(record)
  }

  /** The same of all that wait. */
  dues(): ReadonlyMap<DeliveredRecord, number> {
    return new Map(this.#queue.dues())
  }

  add(record: DeliveredRecord, delay: number): void {
    this.#keep(record)
    this.#wait(record, this.host.clock.monotonic() + delay)
  }

  /** The record waits, and nobody knows for how long. */
  park(record: DeliveredRecord): void {
    if (!this.#kept.has(record.batch)) this.#keep(record)
  }

  isReleased(record: DeliveredRecord): boolean {
    return record.batch instanceof ReleasedRecord
  }

  /** Parked records are wanted, in the order of their offsets. */
  recall(records: readonly DeliveredRecord[]): void {
    this.#read(records)
  }

  /** The record waits no more. */
  forget({ batch }: DeliveredRecord): void {
    if (this.#kept.delete(batch)) this.#bytes -= batch.byteLength
  }

  end(): void {
    this.#timer?.subscription.unsubscribe()
    this.#work.unsubscribe()
  }

  #keep(record: DeliveredRecord): void {
    if (this.isReleased(record)) return
    const { batch, index } = record
    const alone = batch.count === 1 ? batch : batch.copy(index)
    if (this.#bytes + alone.byteLength > bytesKept) record.batch = new ReleasedRecord(batch.offset(index))
    else {
      record.batch = alone
      this.#kept.add(alone)
      this.#bytes += alone.byteLength
    }
    record.index = 0
  }

  #wait(record: DeliveredRecord, due: number): void {
    this.#queue.add(record, due)
    if (this.#timer !== undefined && this.#timer.due <= due) return
    this.#arm()
  }

  #arm(): void {
    this.#timer?.subscription.unsubscribe()
    this.#timer = undefined
    const due = this.#queue.nextDue
    if (due === undefined) return
    const delay = Math.max(0, due - this.host.clock.monotonic())
    this.#timer = { due, subscription: this.host.clock.scheduler.schedule(() => this.#fire(due), delay) }
  }

  /** What the timer was armed for is due, even where the timer ran a fraction of a ms short of it. */
  #fire(armedFor: number): void {
    this.#timer = undefined
    const now = Math.max(armedFor, this.host.clock.monotonic())
    const released: DeliveredRecord[] = []
    while (this.#queue.nextDue !== undefined && this.#queue.nextDue <= now) {
      const record = this.#queue.shift()!
      if (record.batch instanceof ReleasedRecord) released.push(record)
      else {
        this.forget(record)
        this.host.due(record)
      }
    }
    this.#read(released.sort((one, other) => one.batch.lastOffset - other.batch.lastOffset))
    this.#arm()
  }

  /** Reads a batch at a time; records that wait for the same time mostly stand together. */
  #read(released: readonly DeliveredRecord[]): void {
    const first = released[0]
    if (first === undefined || this.#work.closed) return
    let rest: readonly DeliveredRecord[] = released
    const reading = new Subscription()
    this.#work.add(reading)
    const end = (next: () => void) => {
      this.#work.remove(reading)
      next()
    }
    reading.add(
      this.host.readAt(first.batch.lastOffset).subscribe({
        next: batch => {
          rest = this.#fill(rest, batch)
        },
        error: () =>
          end(() => {
            const again = this.host.clock.monotonic() + readAgainAfter
            for (const record of rest) this.#wait(record, again)
          }),
        complete: () =>
          end(() => {
            // An answer without the first record, or without any: it was deleted while it waited.
            if (rest[0] === first) {
              this.host.gone(first)
              rest = rest.slice(1)
            }
            this.#read(rest)
          }),
      }),
    )
  }

  /** Gives the records that the batch covers their bytes back; returns the others. */
  #fill(released: readonly DeliveredRecord[], batch: RecordBatch): readonly DeliveredRecord[] {
    let index = 0
    let filled = 0
    for (const record of released) {
      const offset = record.batch.lastOffset
      if (offset > batch.lastOffset) break
      while (index < batch.count && batch.offset(index) < offset) index++
      if (index === batch.count || batch.offset(index) !== offset) {
        if (filled === 0) break
        this.host.gone(record)
      } else {
        record.batch = batch
        record.index = index
        this.host.due(record)
      }
      filled++
    }
    return released.slice(filled)
  }
}

/** Stands in for the bytes of a record that were let go: its offset is all that is left. */
class ReleasedRecord implements RecordBatch {
  readonly count = 1
  readonly byteLength = 0

  constructor(readonly lastOffset: number) {}

  offset(): number {
    return this.lastOffset
  }

  timestamp(): never {
    return this.#missing()
  }

  key(): never {
    return this.#missing()
  }

  value(): never {
    return this.#missing()
  }

  headers(): never {
    return this.#missing()
  }

  copy(): RecordBatch {
    return this
  }

  #missing(): never {
    throw new Error(`the bytes of the record at offset ${this.lastOffset} were let go until it is due`)
  }
}
