import { type MonoTypeOperatorFunction, Observable, type OperatorFunction } from 'rxjs'
import { checkFunction } from '../options.js'
import type { ConsumeRecord } from '../record.js'
import { isRecord, notRecord } from './is-record.js'
import { subscribeLinked } from './subscribe-linked.js'
import { synchronous } from './synchronous.js'

/**
 * `filter` for records: emits the records for which the predicate is true, and acks the others.
 *
 * RxJS's `filter` drops a record without settling it, so its partition's position never passes it. `keep` acks the records
 * it drops. If the predicate throws, the record fails, down its topic's failure route, and the stream continues. If it
 * returns a promise or an Observable, the record fails too, because these are always truthy. If the source emits anything
 * but records, the stream errors with a `TypeError`.
 *
 * ```
 * source              -a-b-c-d-|
 * keep(isVowel)       -a-------|      b, c and d are acked
 * ```
 *
 * A type guard narrows the type of the emitted records.
 *
 * @example
 * client.topic('orders').pipe(keep(record => record.header('region')?.toString() === 'eu'), handle(charge)).subscribe()
 *
 * @param predicate `(record, index) => boolean`; `index` counts the records of this subscription from 0.
 * @throws ConfigurationError if `predicate` is not a function.
 */
export function keep<R extends ConsumeRecord<unknown>, S extends R>(
  predicate: (record: R, index: number) => record is S,
): OperatorFunction<R, S>
export function keep<R extends ConsumeRecord<unknown>>(
  predicate: (record: R, index: number) => boolean,
): MonoTypeOperatorFunction<R>
export function keep<R extends ConsumeRecord<unknown>>(
  predicate: (record: R, index: number) => boolean,
): MonoTypeOperatorFunction<R> {
  checkFunction('keep: predicate', predicate)
  return source =>
    new Observable(subscriber => {
      let index = 0
      subscribeLinked(source, subscriber, {
        next: record => {
          if (!isRecord(record)) return subscriber.error(notRecord('keep', record))
          let kept: unknown
          try {
            kept = synchronous('keep: the predicate must return a boolean', predicate(record, index++))
          } catch (reason) {
            record.fail(reason)
            return
          }
          if (kept) subscriber.next(record)
          else record.ack()
        },
        error: error => subscriber.error(error),
        complete: () => subscriber.complete(),
      })
    })
}
