import { Observable, throwError } from 'rxjs'
import { subscribeLinked } from '../operators/subscribe-linked.js'

/**
 * Ends a subscription of user code. RxJS throws what a teardown throws (of `finalize`, say) out of `complete` and `error`. There
 * it would interrupt a close, or the answers to other callers. So it is thrown from a timer, as RxJS does with unhandled errors.
 */
export function ending(end: () => void): void {
  try {
    end()
  } catch (error) {
    throwError(() => error).subscribe()
  }
}

/** The same stream. What the teardowns of its subscribers throw at its end is thrown from a timer, as by `ending`. */
export function shielded<T>(source: Observable<T>): Observable<T> {
  // RxJS catches what these functions throw, because they belong to a plain observer.
  return new Observable(subscriber =>
    subscribeLinked(source, subscriber, {
      next: value => subscriber.next(value),
      error: error => subscriber.error(error),
      complete: () => subscriber.complete(),
    }),
  )
}
