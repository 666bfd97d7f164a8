import { Observable } from 'rxjs'
import type { Driver, Outgoing, ProduceResult, PublishError, PublishRecord } from 'rxmika'

/** Why a driver has not written records yet. */
export interface Delay {
  readonly index: number
  readonly error: PublishError
  readonly lasting: boolean
}

/**
 * Writes records by a driver, and emits their results in order. After an unsubscribe the records are no longer wanted, and
 * those that were not written have no result.
 */
export function produced(
  driver: Pick<Driver, 'produce'>,
  records: readonly PublishRecord[],
  delayed: (delay: Delay) => void = () => {},
): Observable<readonly ProduceResult[]> {
  return new Observable(subscriber => {
    const results: ProduceResult[] = new Array(records.length)
    let left = records.length
    const end = () => {
      if (--left > 0) return
      subscriber.next(results)
      subscriber.complete()
    }
    records.forEach((record, index) => {
      const outgoing: Outgoing = {
        topic: record.topic,
        key: record.key,
        partition: record.partition,
        record: () => record,
        get wanted() {
          return !subscriber.closed
        },
        settle: result => {
          results[index] = result
          end()
        },
        abandoned: end,
        delayed: (error, lasting) => delayed({ index, error, lasting }),
      }
      driver.produce(outgoing)
    })
  })
}
