import { Observable, type SchedulerLike, Subscription } from 'rxjs'
import type { Driver, ProduceResult } from '../driver.js'
import { PublishError } from '../errors.js'
import type { PublishRecord, RecordMetadata } from '../publish.js'

/** Seen to be best with kafkajs, which has no linger: about 1,000 records a request, four requests under way. */
const batchSize = 1_000
const batchBytes = 512 * 1024
const requestsUnderWay = 4

const firstRetry = 100
const longestRetry = 5_000

interface Pending {
  readonly record: PublishRecord
  done(result: ProduceResult): void
}

/** Sends single records of many callers together. */
export class Publisher {
  #queue: Pending[] = []
  #underWay = 0
  #timer: Subscription | undefined
  readonly #retries = new Subscription()

  constructor(
    readonly driver: Driver,
    readonly scheduler: SchedulerLike,
    /** Called when something that was under way has ended. */
    readonly onProgress: () => void,
  ) {}

  /** Something is queued or under way. */
  get busy(): boolean {
    return this.#queue.length > 0 || this.#underWay > 0
  }

  /**
   * Publishes one record and calls `settle` with its place once acknowledged, or with a permanent refusal. What the broker
   * may accept later is sent again, after 100 ms at first and 5 s at most, for as long as `again` answers true; when it
   * does not, nothing more is called.
   *
   * Callbacks, for there may be ten thousand at once: a subscription for each would be a list to search at every end.
   */
  send(record: PublishRecord, settle: (result: ProduceResult) => void, again: (error: PublishError) => boolean): void {
    let refusals = 0
    const attempt = () => {
      this.#enqueue({
        record,
        done: result => {
          if (!(result instanceof PublishError) || !result.retriable) settle(result)
          else if (again(result)) this.#later(attempt, Math.min(firstRetry * 2 ** refusals++, longestRetry))
        },
      })
    }
    attempt()
  }

  /** The same as an Observable: emits the place; a permanent refusal errors; completes when `again` answers false. */
  publish(record: PublishRecord, again: (error: PublishError) => boolean): Observable<RecordMetadata> {
    return new Observable(subscriber => {
      this.send(
        record,
        result => {
          if (result instanceof PublishError) return subscriber.error(result)
          subscriber.next(result)
          subscriber.complete()
        },
        error => {
          if (subscriber.closed) return false
          if (again(error)) return true
          subscriber.complete()
          return false
        },
      )
    })
  }

  /** Nothing is tried again any more. */
  end(): void {
    this.#retries.unsubscribe()
  }

  #later(attempt: () => void, delay: number): void {
    const retry = this.scheduler.schedule(() => {
      this.#retries.remove(retry)
      attempt()
    }, delay)
    this.#retries.add(retry)
  }

  #enqueue(pending: Pending): void {
    this.#queue.push(pending)
    // One turn of the scheduler gathers what is published together.
    if (this.#underWay < requestsUnderWay) this.#timer ??= this.scheduler.schedule(() => this.#send())
  }

  #send(): void {
    this.#timer = undefined
    while (this.#queue.length > 0 && this.#underWay < requestsUnderWay) {
      const batch = this.#nextBatch()
      this.#underWay++
      let results: readonly ProduceResult[] | undefined
      const settle = (error?: unknown) => {
        this.#underWay--
        batch.forEach((pending, at) => {
          pending.done(
            results?.[at] ??
              new PublishError(`publishing to ${pending.record.topic} was not acknowledged`, {
                cause: error,
                retriable: true,
                topic: pending.record.topic,
              }),
          )
        })
        if (this.#queue.length > 0) this.#timer ??= this.scheduler.schedule(() => this.#send())
        this.onProgress()
      }
      this.driver.produce(batch.map(pending => pending.record)).subscribe({
        next: emitted => {
          results = emitted
        },
        error: settle,
        complete: () => settle(),
      })
    }
  }

  #nextBatch(): Pending[] {
    let bytes = 0
    let count = 0
    while (count < this.#queue.length && count < batchSize) {
      bytes += sizeOf(this.#queue[count]!.record)
      if (count > 0 && bytes > batchBytes) break
      count++
    }
    const batch = this.#queue.slice(0, count)
    this.#queue = this.#queue.slice(count)
    return batch
  }
}

function sizeOf({ key, value }: PublishRecord): number {
  return (key?.length ?? 0) + (value?.length ?? 0) + 64
}
