import { Observable } from 'rxjs'
import type { PublishError } from '../errors.js'
import type { Failed } from '../failure.js'
import type { ProduceRecord } from '../publish.js'
import type { Routing } from '../routing.js'
import { Concessions } from './concessions.js'

/** Most copies are taken as they are. */
const nothing = new Concessions()

/** What a step gives on once its copy is settled; undefined: nothing. */
export interface CopyOutcomes<R> {
  acknowledged(): R
  refused(error: PublishError): R | undefined
}

/**
 * Publishes a failed record's copy and emits what became of it. A copy that is refused for what it can do without is made
 * anew without that, as `copy` is told.
 */
export function publishingCopy<R>(
  routing: Routing,
  failed: Failed,
  topic: string,
  copy: (without: Concessions) => ProduceRecord,
  outcomes: CopyOutcomes<R>,
): Observable<R> {
  return new Observable(subscriber => {
    let without: Concessions | undefined
    routing.publishCopy(topic, () => copy(without ?? nothing), failed, {
      get wanted() {
        return !subscriber.closed
      },
      concede: refusal => {
        without ??= new Concessions()
        return without.concede(refusal)
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
