import { Observable } from 'rxjs'
import type { Driver, Outgoing, ProduceResult, PublishError, PublishRecord } from 'rxmika'

/** Why records were not written yet, as a driver says it. */
export interface Delay {
  readonly index: number
  readonly error: PublishError
  readonly lasting: boolean
}

/**
 * Has a driver write records, and emits what became of them, in their order. Unsubscribed, nobody wants them any more;
 * those that were left out have no result.
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
