import { Observable } from 'rxjs'
import type { PublishError } from '../errors.js'
import type { Failed } from '../failure.js'
import type { PublishRecord } from '../publish.js'
import type { Routing } from '../routing.js'

/** What a step gives on once its copy is settled; undefined: nothing. */
export interface CopyOutcomes<R> {
  acknowledged(): R
  refused(error: PublishError): R | undefined
}

/** Publishes a failed record's copy and emits what became of it. */
export function publishingCopy<R>(
  routing: Routing,
  failed: Failed,
  copy: () => PublishRecord,
  outcomes: CopyOutcomes<R>,
): Observable<R> {
  return new Observable(subscriber => {
    routing.publishCopy(copy, failed, {
      get wanted() {
        return !subscriber.closed
      },
      settle: settled => {
        if (subscriber.closed) return
        try {
          if (settled !== undefined) {
            const value = settled.ok ? outcomes.acknowledged() : outcomes.refused(settled.error)
            if (value !== undefined) subscriber.next(value)
          }
          subscriber.complete()
        } catch (error) {
          // By an operator behind this step. Other copies are settled in the same turn, and must not go without.
          subscriber.error(error)
        }
      },
    })
  })
}
