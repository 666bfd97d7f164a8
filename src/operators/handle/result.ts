import { isObservable, type Observable, type ObservableInput } from 'rxjs'
import { isObject } from '../is-promise.js'

/** The type of a handler's result. An Observable that emits nothing has the result undefined. */
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

/** Whether a result is subscribed to. Arrays and strings are iterable but count as values. */
export function isStream(result: unknown): result is ObservableInput<unknown> {
  if (!isObject(result)) return false
  if (isObservable(result)) return true
  return (
    typeof result[Symbol.observable ?? '@@observable'] === 'function' ||
    typeof result[Symbol.asyncIterator] === 'function' ||
    typeof result.getReader === 'function' ||
    // A generator: it has not run yet.
    (typeof result[Symbol.iterator] === 'function' && typeof result.next === 'function')
  )
}
