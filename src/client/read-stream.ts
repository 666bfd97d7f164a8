import { Observable, type Subscriber, type Subscription } from 'rxjs'
import type { ReadEvent } from '../driver.js'
import { isRxMikaError } from '../errors.js'
import { FetchedRecord, type ReadRecord } from '../read-record.js'
import { type ReadBatch, ReadIterator } from './read-iterator.js'
import type { Reports } from './reports.js'

/** Begins one read. While `paused` emits true, nothing more is fetched. */
export type BeginRead = (paused: Observable<boolean> | undefined) => Observable<ReadEvent>

/**
 * What `client.read` returns. As an Observable it pushes: the next batch is fetched while the last one is emitted, and emitted
 * once `next` has returned for all records of that one. As an async iterable it is pulled: fetching stops while a fetched batch
 * waits for `next()`.
 */
export class ReadStream extends Observable<ReadRecord> implements AsyncIterable<ReadRecord> {
  readonly #topic: string
  readonly #begin: BeginRead
  readonly #reports: Reports

  /** @param topic As users name it. */
  constructor(topic: string, begin: BeginRead, reports: Reports) {
    super(subscriber =>
      this.#subscribe(undefined, subscriber, batch => {
        // A subscriber may unsubscribe within `next`.
        for (let at = batch.from; at < batch.to && !subscriber.closed; at++) subscriber.next(this.#record(batch, at))
      }),
    )
    this.#topic = topic
    this.#begin = begin
    this.#reports = reports
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<ReadRecord> {
    const batches = (paused: Observable<boolean>) =>
      new Observable<ReadBatch>(subscriber => this.#subscribe(paused, subscriber, batch => subscriber.next(batch)))
    return new ReadIterator(batches, (batch, at) => this.#record(batch, at))
  }

  #record({ partition, batch }: ReadBatch, at: number): ReadRecord {
    return new FetchedRecord(this.#topic, partition, batch, at)
  }

  #subscribe(
    paused: Observable<boolean> | undefined,
    subscriber: Subscriber<unknown>,
    take: (batch: ReadBatch) => void,
  ): Subscription {
    const { names } = this.#reports
    return this.#begin(paused).subscribe({
      next: event => {
        if (event.type === 'batch') take(event)
        else this.#reports.error(event.error)
      },
      error: error => subscriber.error(isRxMikaError(error) ? names.inError(error) : error),
      complete: () => subscriber.complete(),
    })
  }
}
