import { isObservable, type Observable, type ObservableInput } from 'rxjs'
import { isObject, isPromise } from '../is-promise.js'

/** The type of a handler's result. An Observable that emits nothing has the result undefined. */
export type Handled<P> =
  P extends PromiseLike<infer T>
    ? Resolved<Awaited<T>>
    : P extends Observable<infer T>
      ? T | undefined
      : P extends AsyncIterable<infer T>
        ? T | undefined
        : P extends Iterator<infer T>
          ? T | undefined
          : P

/** The type of what a promise resolves with, if that is a stream that has not begun. */
type Resolved<V> =
  V extends Observable<infer T>
    ? T | undefined
    : V extends AsyncGenerator<infer T>
      ? T | undefined
      : V extends Generator<infer T>
        ? T | undefined
        : V

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

/**
 * Whether a value is an Observable or a generator, which does nothing before it is subscribed to. Other streams, such as the
 * body of a response or a cursor, have begun: a promise that resolves with one is done.
 */
export function isUnbegun(value: unknown): value is ObservableInput<unknown> {
  if (!isObject(value)) return false
  if (isObservable(value) || typeof value[Symbol.observable ?? '@@observable'] === 'function') return true
  const tag = value[Symbol.toStringTag]
  return tag === 'AsyncGenerator' || tag === 'Generator'
}

/**
 * Whether an array has work in it that nobody waits for, such as `records.map(save)`. Its promises may still
 * reject, which does not end the process then.
 */
export function hasUnawaited(result: readonly unknown[]): boolean {
  const promises = result.filter(isPromise)
  for (const promise of promises) promise.then(undefined, () => {})
  return promises.length > 0 || result.some(isUnbegun)
}
