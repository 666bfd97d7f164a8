import { from, Observable, type ObservableInput, type OperatorFunction, type Subscription } from 'rxjs'
import { type Completed, type Failed, isCompleted } from '../failure.js'
import { subscribeLinked } from '../operators/subscribe-linked.js'

/**
 * Routes what is still `Failed` and lets what is `Completed` pass: the shape of every step.
 *
 * Does what `mergeMap` does, with a set of inner subscriptions instead of a list: thousands of failures may be in flight
 * at once, and taking each out of a list took 41 % of the processor time of a route of 100,000 failures.
 */
export function eachFailed<R extends Failed | Completed>(
  project: (failed: Failed) => ObservableInput<R>,
): OperatorFunction<Failed | Completed, R | Completed> {
  return source =>
    new Observable(subscriber => {
      const underWay = new Set<Subscription>()
      let sourceCompleted = false
      const end = () => {
        if (sourceCompleted && underWay.size === 0) subscriber.complete()
      }
      // An operator behind this step that catches nothing breaks the route, and not the process.
      const give = (value: R | Completed) => {
        try {
          subscriber.next(value)
        } catch (error) {
          subscriber.error(error)
        }
      }
      const route = (failed: Failed) => {
        let routed: Observable<R>
        try {
          routed = from(project(failed))
        } catch (error) {
          subscriber.error(error)
          return
        }
        let ended = false
        let subscription: Subscription | undefined
        const complete = () => {
          ended = true
          if (subscription !== undefined) underWay.delete(subscription)
          end()
        }
        subscription = routed.subscribe({
          next: give,
          error: error => subscriber.error(error),
          complete,
        })
        if (subscriber.closed) subscription.unsubscribe()
        else if (!ended) underWay.add(subscription)
      }
      subscriber.add(() => {
        for (const subscription of underWay) subscription.unsubscribe()
      })
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
