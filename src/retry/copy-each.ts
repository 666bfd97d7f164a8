import { Observable, type OperatorFunction } from 'rxjs'
import type { PublishError } from '../errors.js'
import { type Completed, type Failed, isCompleted } from '../failure.js'
import { subscribeLinked } from '../operators/subscribe-linked.js'
import type { ProduceResult } from '../produce-result.js'
import type { ProduceRecord } from '../publish.js'
import type { CopyObserver, Routing } from '../routing.js'
import { Concessions } from './concessions.js'

/** Shared, because most copies are accepted as they are. */
const noConcessions = new Concessions()

/** A step that publishes copies of failed records to one topic. */
export interface CopyingStep<R extends Failed | Completed> {
  readonly routing: Routing
  /** The full name of the topic for the copies. */
  readonly topic: string
  /** Whether a copy of this record is published. */
  admits(failed: Failed): boolean
  /** Called for a record that is not copied. Returns what is emitted instead; undefined: nothing. */
  instead(failed: Failed): R | undefined
  /** The delay of the copy in ms. Called once per failure. */
  delay(failed: Failed): number
  /** @param now When the record failed. */
  copy(failed: Failed, now: number, delay: number, without: Concessions): ProduceRecord
  /** The broker has acknowledged the copy. Returns what is emitted. */
  acknowledged(failed: Failed): R
  /** The broker refused the copy for good. Returns what is emitted; undefined: nothing. */
  refused(failed: Failed, error: PublishError): R | undefined
}

/**
 * Publishes a copy of each record that is still `Failed`, and passes on those that are `Completed`. A copy that is refused
 * because of something it does not need is made again without that.
 *
 * It does the same as `mergeMap` with an Observable per copy, but with one object per copy: tens of thousands may be in flight,
 * and the garbage collector has to move everything that is kept for each.
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
      // If a later operator of the route throws, that errors the route and does not end the process.
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
            // Caught here, because other copies are settled in the same turn.
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
    /** When the record failed. */
    readonly now: number,
    readonly delay: number,
  ) {}

  get wanted(): boolean {
    return this.copies.wanted
  }

  copy(): ProduceRecord {
    return this.copies.step.copy(this.failed, this.now, this.delay, this.#without ?? noConcessions)
  }

  concede(refusal: PublishError): boolean {
    this.#without ??= new Concessions()
    return this.#without.concede(refusal)
  }

  settle(result: ProduceResult | undefined): void {
    this.copies.settled(this.failed, result)
  }
}
