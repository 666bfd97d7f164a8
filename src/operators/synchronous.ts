import { isObservable } from 'rxjs'
import { isObject, isPromise } from './is-promise.js'

/**
 * Returns the result of a callback that must not be asynchronous. Without this check a promise or an Observable would count
 * as a result: as a true predicate, say, or as a key that no other record has.
 *
 * @param rule Begins with the name of the callback: `keep: the predicate must return a boolean`.
 * @throws TypeError if it is a promise or an Observable. The promise may reject without ending the process.
 */
export function synchronous<T>(rule: string, result: T): T {
  if (!isObject(result)) return result
  if (isObservable(result)) throw new TypeError(`${rule} (got an Observable)`)
  if (!isPromise(result)) return result
  result.then(undefined, () => {})
  throw new TypeError(`${rule} (got a promise)`)
}
