import { Observable, type OperatorFunction } from 'rxjs'
import type { PublishError } from '../errors.js'
import { type Completed, type Failed, isCompleted } from '../failure.js'
import { subscribeLinked } from '../operators/subscribe-linked.js'
import type { ProduceResult } from '../produce-result.js'
import type { ProduceRecord } from '../publish.js'
import type { CopyObserver, Routing } from '../routing.js'
import { Concessions } from './concessions.js'

/** Most copies are taken as they are. */
const nothing = new Concessions()

/** A step that publishes copies of failed records to one topic. */
export interface CopyingStep<R extends Failed | Completed> {
  readonly routing: Routing
  /** Where the copies go: the full name. */
  readonly topic: string
  /** Whether a copy of this record is published. */
  admits(failed: Failed): boolean
  /** For a record of which no copy is published; undefined: nothing is given on. */
  instead(failed: Failed): R | undefined
  /** How long the copy is to wait, ms. Asked once a failure. */
  delay(failed: Failed): number
  /** @param now When it failed. */
  copy(failed: Failed, now: number, delay: number, without: Concessions): ProduceRecord
  /** The broker has the copy. */
  acknowledged(failed: Failed): R
  /** The broker refused the copy for good; undefined: nothing is given on. */
  refused(failed: Failed, error: PublishError): R | undefined
}

/**
 * Publishes a copy of each record that is still `Failed`, and lets what is `Completed` pass. A copy that is refused for
 * what it can do without is made anew without that.
 *
 * Does what `mergeMap` over an Observable for each copy would do, with one object for each: tens of thousands may be under
 * way, and what is kept of each has to be moved by the garbage collector.
 */
export function copyEach<R extends Failed | Completed>(
  step: CopyingStep<R>,
): OperatorFunction<Failed | Completed, R | Completed> {
  return source =>
    new Observable(subscriber => {
      let underWay = 0
      let sourceCompleted = false
      const end = () => {
        if (sourceCompleted && underWay === 0) subscriber.complete()
      }
      // An operator behind this step that catches nothing breaks the route, and not the process.
      const give = (value: R | Completed) => {
        try {
          subscriber.next(value)
        } catch (error) {
          subscriber.error(error)
        }
      }
      const copies: Copies<R> = {
        step,
        get wanted() {
          return !subscriber.closed
        },
        settled(failed, result) {
          if (subscriber.closed) return
          let value: R | undefined
          try {
            if (result !== undefined) {
              value = result.ok ? step.acknowledged(failed) : step.refused(failed, result.error)
            }
          } catch (error) {
            // Other copies are settled in the same turn, and must not go without.
            return subscriber.error(error)
          }
          if (value !== undefined) give(value)
          underWay--
          end()
        },
      }
      const route = (failed: Failed) => {
        try {
          if (step.admits(failed)) {
            underWay++
            const now = step.routing.clock.wall()
            const copy = new CopyUnderWay(copies, failed, now, step.delay(failed))
            return step.routing.publishCopy(step.topic, failed, copy)
          }
          const instead = step.instead(failed)
          if (instead !== undefined) give(instead)
        } catch (error) {
          subscriber.error(error)
        }
      }
      subscribeLinked(source, subscriber, {
        next: value => (isCompleted(value) ? give(value) : route(value)),
        error: error => subscriber.error(error),
        complete: () => {
          sourceCompleted = true
          end()
        },
      })
    })
}

/** The copies of one subscription. */
interface Copies<R extends Failed | Completed> {
  readonly step: CopyingStep<R>
  readonly wanted: boolean
  settled(failed: Failed, result: ProduceResult | undefined): void
}

class CopyUnderWay<R extends Failed | Completed> implements CopyObserver {
  #without: Concessions | undefined

  constructor(
    readonly copies: Copies<R>,
    readonly failed: Failed,
    /** When it failed. */
    readonly now: number,
    readonly delay: number,
  ) {}

  get wanted(): boolean {
    return this.copies.wanted
  }

  copy(): ProduceRecord {
    return this.copies.step.copy(this.failed, this.now, this.delay, this.#without ?? nothing)
  }

  concede(refusal: PublishError): boolean {
    this.#without ??= new Concessions()
    return this.#without.concede(refusal)
  }

  settle(result: ProduceResult | undefined): void {
    this.copies.settled(this.failed, result)
  }
}
