import { type Observable, Subscription } from 'rxjs'
import type { Clock } from '../clock.js'
import type { DeliveredRecord } from '../record.js'
import type { RecordBatch } from '../record-batch.js'
import { DueQueue } from './due-queue.js'

/** How many bytes of waiting records an assignment holds in memory. Beyond that, bytes are released and fetched again when due. */
const maxHeldBytes = 4 * 1024 * 1024
/** The pause after a failed read, ms. */
const retryReadAfter = 1_000

export interface DelayedRecordsHost {
  readonly clock: Clock
  /** Emits the batch with the record at `offset`; if that record was deleted, the batch with the next one. */
  readAt(offset: number): Observable<RecordBatch>
  /** The record is due, and its bytes are in memory. */
  due(record: DeliveredRecord): void
  /** The record was deleted from the log. */
  gone(record: DeliveredRecord): void
}

/**
 * The records of one assignment that are not due yet, and the bytes of those that wait for their stream to open. Each has its
 * own due time, and none waits behind another.
 *
 * Beyond a few MiB, the bytes of waiting records are released, and fetched again when they are needed. So a waiting record
 * costs a few words, and tens of thousands of them delay neither each other nor records that are due.
 */
export class DelayedRecords {
  readonly #queue = new DueQueue<DeliveredRecord>()
  readonly #work = new Subscription()
  #timer: { readonly due: number; readonly subscription: Subscription } | undefined
  /** The batches of waiting records whose bytes are held in memory. */
  readonly #kept = new Set<RecordBatch>()
  #bytes = 0

  constructor(readonly host: DelayedRecordsHost) {}

  get size(): number {
    return this.#queue.size
  }

  /** When a waiting record is due, by the monotonic clock. */
  dueOf(record: DeliveredRecord): number | undefined {
    return this.#queue.dueOf(record)
  }

  /** The same for all waiting records. */
  dues(): ReadonlyMap<DeliveredRecord, number> {
    return new Map(this.#queue.dues())
  }

  add(record: DeliveredRecord, delay: number): void {
    this.#keep(record)
    this.#wait(record, this.host.clock.monotonic() + delay)
  }

  /** The record waits for an unknown time. */
  park(record: DeliveredRecord): void {
    if (!this.#kept.has(record.batch)) this.#keep(record)
  }

  isReleased(record: DeliveredRecord): boolean {
    return record.batch instanceof ReleasedRecord
  }

  /** Fetches the bytes of parked records, which must be in offset order. */
  recall(records: readonly DeliveredRecord[]): void {
    this.#read(records)
  }

  /** The record does not wait any more. */
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
    if (this.#bytes + alone.byteLength > maxHeldBytes) record.batch = new ReleasedRecord(batch.offset(index))
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
    // A record that was delivered just now may have ended the assignment. A timer would keep the process alive.
    if (due === undefined || this.#work.closed) return
    const delay = Math.max(0, due - this.host.clock.monotonic())
    this.#timer = { due, subscription: this.host.clock.scheduler.schedule(() => this.#fire(due), delay) }
  }

  /** Takes everything due at `armedFor`, because a timer may fire a fraction of a ms early. */
  #fire(armedFor: number): void {
    this.#timer = undefined
    const now = Math.max(armedFor, this.host.clock.monotonic())
    const released: DeliveredRecord[] = []
    // What is due may be handled at once, and the handler may close the client.
    while (!this.#work.closed && this.#queue.nextDue !== undefined && this.#queue.nextDue <= now) {
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

  /** Reads batch by batch: records with the same due time are usually adjacent in the log. */
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
            const again = this.host.clock.monotonic() + retryReadAfter
            for (const record of rest) this.#wait(record, again)
          }),
        complete: () =>
          end(() => {
            // The answer does not have the first record: it was deleted while it waited.
            if (rest[0] === first) {
              this.host.gone(first)
              rest = rest.slice(1)
            }
            this.#read(rest)
          }),
      }),
    )
  }

  /** Gives the records within the batch their bytes. Returns the other records. */
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

/** Replaces the batch of a record whose bytes were released. It has only the offset. */
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
    throw new Error(`the bytes of the record at offset ${this.lastOffset} were released until it is due`)
  }
}
