import { from, type Observable, type Subscriber } from 'rxjs'
import { ConfigurationError } from '../../errors.js'
import { checkLimit, invalid } from '../../options.js'
import { isObject } from '../is-promise.js'
import { subscribeLinked } from '../subscribe-linked.js'

export function isChanging(concurrency: unknown): concurrency is Observable<number> {
  // Of whatever copy of RxJS, or of another library that knows how to be one.
  return isObject(concurrency) && typeof concurrency[Symbol.observable ?? '@@observable'] === 'function'
}

/** How many calls may be under way, as it changes: 0 pauses, and completion keeps the last number. */
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
      // Nothing would ever begin, without a word.
      subscriber.error(new ConfigurationError('handle: concurrency completed without a number'))
    },
  })
}
