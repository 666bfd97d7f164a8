import { asyncScheduler, Observable, type SchedulerLike, Subscription } from 'rxjs'
import type { Driver } from '../driver.js'
import { PublishError } from '../errors.js'
import { Fifo } from '../operators/fifo.js'
import { type ProduceResult, recognized, refused } from '../produce-result.js'
import { headerPairs, type ProduceRecord, type RecordMetadata } from '../publish.js'

/**
 * One request's worth. Retries went round at 51,000 a second with 1,000 records, at 59,000 with as many as fit; and all of
 * it may be for one partition, where a broker takes 1 MiB (`max.message.bytes`).
 */
const batchSize = 4_000
const batchBytes = 900 * 1024
const requestsUnderWay = 4

const firstRetry = 100
const longestRetry = 5_000

/** A record, or how to make it once it is its turn. */
export type Publishable = ProduceRecord | (() => ProduceRecord)

export interface PublishListener {
  /** The record's place, or a refusal for good. */
  settle(result: ProduceResult): void
  /** A refusal that may pass. True: it is sent again; false: nothing more is called. */
  again(error: PublishError): boolean
}

/** One record on its way, through as many attempts as it takes. */
class Sending {
  refusals = 0
  record: ProduceRecord | undefined

  constructor(
    readonly source: Publishable,
    readonly listener: PublishListener,
  ) {}
}

/** Sends single records of many callers together. */
export class Publisher {
  readonly #queue = new Fifo<Sending>()
  #underWay = 0
  /** A turn that sends what is queued by then is to come. */
  #gathering = false
  readonly #retries = new Subscription()

  constructor(
    readonly driver: Driver,
    readonly scheduler: SchedulerLike,
    /** Called when something that was under way has ended. */
    readonly onProgress: () => void,
  ) {}

  /** Something is queued or under way. */
  get busy(): boolean {
    return this.#queue.size > 0 || this.#underWay > 0
  }

  /**
   * Publishes one record and tells once it is acknowledged, or refused for good. What the broker may accept later is sent
   * again, after 100 ms at first and 5 s at most, for as long as the listener wants that.
   *
   * Listeners, for there may be ten thousand at once: a subscription for each would be a list to search at every end.
   */
  send(record: Publishable, listener: PublishListener): void {
    this.#enqueue(new Sending(record, listener))
  }

  /** The same as an Observable: emits the place; a refusal for good errors; completes when `again` answers false. */
  publish(record: ProduceRecord, again: (error: PublishError) => boolean): Observable<RecordMetadata> {
    return new Observable(subscriber => {
      this.send(record, {
        settle: result => {
          if (!result.ok) return subscriber.error(result.error)
          subscriber.next(result)
          subscriber.complete()
        },
        again: error => {
          if (subscriber.closed) return false
          if (again(error)) return true
          subscriber.complete()
          return false
        },
      })
    })
  }

  /** Nothing is tried again any more. */
  end(): void {
    this.#retries.unsubscribe()
  }

  #enqueue(sending: Sending): void {
    this.#queue.push(sending)
    this.#wake()
  }

  /**
   * Gathers what is published together. A timer takes a millisecond, as long as the broker's answer does; so where nothing
   * is under way it is one turn of the event loop, and otherwise the timer: requests grow with the load.
   */
  #wake(): void {
    if (this.#gathering || this.#underWay === requestsUnderWay) return
    this.#gathering = true
    const send = () => this.#send()
    if (this.#underWay === 0 && this.scheduler === asyncScheduler) setImmediate(send)
    else this.scheduler.schedule(send)
  }

  #send(): void {
    this.#gathering = false
    while (this.#queue.size > 0 && this.#underWay < requestsUnderWay) {
      const batch = this.#nextBatch()
      if (batch.length === 0) continue
      this.#underWay++
      let results: readonly unknown[] | undefined
      const settle = (error?: unknown) => {
        this.#underWay--
        batch.forEach((sending, at) => {
          const { record } = sending
          this.#settle(
            sending,
            results === undefined ? notAcknowledged(record!, error) : recognized(results[at], record!),
          )
        })
        if (this.#queue.size > 0) this.#wake()
        this.onProgress()
      }
      this.driver.produce(batch.map(({ record }) => record!)).subscribe({
        next: emitted => {
          results = emitted
        },
        error: settle,
        complete: () => settle(),
      })
    }
  }

  #settle(sending: Sending, result: ProduceResult): void {
    const { listener } = sending
    if (result.ok || result.error.retriable === false) listener.settle(result)
    else if (listener.again(result.error)) {
      const delay = Math.min(firstRetry * 2 ** sending.refusals++, longestRetry)
      const retry = this.scheduler.schedule(() => {
        this.#retries.remove(retry)
        this.#enqueue(sending)
      }, delay)
      this.#retries.add(retry)
    }
  }

  /** Empty where none of them could be made. */
  #nextBatch(): Sending[] {
    const batch: Sending[] = []
    let bytes = 0
    while (batch.length < batchSize) {
      const sending = this.#queue.peek()
      if (sending === undefined) break
      try {
        sending.record ??= typeof sending.source === 'function' ? sending.source() : sending.source
      } catch (cause) {
        this.#queue.shift()
        const error = new PublishError('the record could not be made', { cause, retriable: false })
        sending.listener.settle(refused(error))
        continue
      }
      bytes += sizeOf(sending.record)
      if (batch.length > 0 && bytes > batchBytes) break
      this.#queue.shift()
      batch.push(sending)
    }
    return batch
  }
}

function notAcknowledged({ topic }: ProduceRecord, cause: unknown): ProduceResult {
  return refused(new PublishError(`publishing to ${topic} was not acknowledged`, { cause, retriable: true, topic }))
}

/** On the wire, about. */
function sizeOf({ key, value, headers }: ProduceRecord): number {
  let size = (key?.length ?? 0) + (value?.length ?? 0) + 32
  for (const [name, content] of headerPairs(headers)) size += name.length + (content?.length ?? 0) + 4
  return size
}
