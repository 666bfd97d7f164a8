import { from, type Observable, type Subscriber } from 'rxjs'
import { ConfigurationError } from '../../errors.js'
import { checkLimit, invalid } from '../../options.js'
import { isObject } from '../is-promise.js'
import { subscribeLinked } from '../subscribe-linked.js'

export function isChanging(concurrency: unknown): concurrency is Observable<number> {
  // Recognizes Observables of any copy of RxJS, and of other libraries that implement `Symbol.observable`.
  return isObject(concurrency) && typeof concurrency[Symbol.observable ?? '@@observable'] === 'function'
}

/** Follows the changing limit of calls in flight: 0 pauses, and completion keeps the last number. */
export function followConcurrency(
  concurrency: Observable<number>,
  subscriber: Subscriber<unknown>,
  changed: (limit: number) => void,
): void {
  let known = false
  subscribeLinked(from(concurrency), subscriber, {
    next: limit => {
      try {
        if (limit !== 0) checkLimit('handle: concurrency', limit)
      } catch {
        subscriber.error(invalid('handle: concurrency', limit, 'must be an integer ≥ 0 or Infinity'))
        return
      }
      known = true
      changed(limit)
    },
    error: error => subscriber.error(error),
    complete: () => {
      if (known) return
      // Otherwise nothing would ever begin, without any error.
      subscriber.error(new ConfigurationError('handle: concurrency completed without a number'))
    },
  })
}
