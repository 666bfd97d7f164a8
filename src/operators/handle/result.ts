import { isObservable, type Observable, type ObservableInput } from 'rxjs'
import { isObject } from '../is-promise.js'

/** The value of what a handler returns; an Observable that emits nothing has none. */
export type Handled<P> =
  P extends PromiseLike<infer T>
    ? Awaited<T>
    : P extends Observable<infer T>
      ? T | undefined
      : P extends AsyncIterable<infer T>
        ? T | undefined
        : P extends Iterator<infer T>
          ? T | undefined
          : P

/** What is subscribed to. An array or a string is a value: it is what a handler has as a result, not as work to do. */
export function isStream(result: unknown): result is ObservableInput<unknown> {
  if (!isObject(result)) return false
  if (isObservable(result)) return true
  return (
    typeof result[Symbol.observable ?? '@@observable'] === 'function' ||
    typeof result[Symbol.asyncIterator] === 'function' ||
    typeof result.getReader === 'function' ||
    // A generator has done nothing yet.
    (typeof result[Symbol.iterator] === 'function' && typeof result.next === 'function')
  )
}
