import { types } from 'node:util'
import { ConfigurationError } from './errors.js'
import { nearestName } from './nearest-name.js'

/** The names of `Options`; of a union those of all its members. */
type NameOf<Options> = Options extends unknown ? Extract<keyof Options, string> : never

/**
 * Lists every option of an interface by name. The compiler keeps the two equal: an option missing from the list, or a name
 * that the interface does not have, does not compile.
 * @example
 * const known: KnownOptions<HandleOptions> = { concurrency: true, order: true, timeout: true, scheduler: true }
 */
export type KnownOptions<Options> = { readonly [name in NameOf<Options>]: true }

/**
 * Checks that `options` is an object, and that every option in it exists.
 *
 * Checks own enumerable properties, of class instances too. Inherited properties, symbols and properties that are
 * `undefined` are ignored. Values are never part of the message: an option with a wrong name may hold a password.
 *
 * @param where Where the options were given, as the message begins: `handle`, `topic 'orders'`.
 * @throws ConfigurationError naming the option and the nearest one that exists, or all options if none is near.
 */
export function checkOptions<Options>(where: string, options: Options, known: KnownOptions<NoInfer<Options>>): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new ConfigurationError(`${where}: options must be an object (got ${kindOf(options)})`)
  }
  const name = unknownOption(options, known)
  if (name === undefined) return
  const names = Object.keys(known)
  const nearest = nearestName(name, names)
  const remedy = nearest === undefined ? `the options are ${names.join(', ')}` : `did you mean '${nearest}'?`
  throw new ConfigurationError(`${where}: unknown option ${shown(name)}; ${remedy}`)
}

/** Returns the first unknown option. For paths that must not build a message unless there is one. */
export function unknownOption(options: object, known: object): string | undefined {
  for (const name in options) {
    // Own properties only, so that `constructor` and `toString` do not count as known options.
    if (Object.hasOwn(known, name) || !Object.hasOwn(options, name)) continue
    if ((options as Record<string, unknown>)[name] !== undefined) return name
  }
  return undefined
}

/**
 * Returns the error for an invalid value: `handle: concurrency must be an integer ≥ 1 (got 0)`.
 *
 * @param rule Begins with `must`.
 */
export function invalid(option: string, value: unknown, rule: string): ConfigurationError {
  return new ConfigurationError(`${option} ${rule} (got ${shown(value)})`)
}

/** As `invalid`, for values that may be or hold a secret: the message has only the kind of the value. */
export function invalidSecret(option: string, value: unknown, rule: string): ConfigurationError {
  return new ConfigurationError(`${option} ${rule} (got ${kindOf(value)})`)
}

/** @throws ConfigurationError */
export function checkFunction(option: string, value: unknown, what = 'a function'): void {
  if (typeof value !== 'function') throw invalid(option, value, `must be ${what}`)
}

/** @throws ConfigurationError unless it is an integer from `min` to `max`. */
export function checkInteger(option: string, value: unknown, min: number, max?: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= (max ?? Infinity)) return
  throw invalid(
    option,
    value,
    max === undefined ? `must be an integer ≥ ${min}` : `must be an integer from ${min} to ${max}`,
  )
}

/** @throws ConfigurationError unless it is an integer ≥ 1, or `Infinity`. */
export function checkLimit(option: string, value: unknown): void {
  if (value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && (value as number) >= 1)) return
  throw invalid(option, value, 'must be an integer ≥ 1 or Infinity')
}

/** @throws ConfigurationError unless it is a scheduler. */
export function checkScheduler(option: string, value: unknown): void {
  if (typeof (value as { schedule?: unknown } | null)?.schedule === 'function') return
  throw invalid(option, value, 'must be a scheduler of RxJS')
}

/** The longest duration in ms (24.8 days). Node's timers fire at once beyond it. */
export const longestDuration = 2 ** 31 - 1

/** @throws ConfigurationError unless it is a number of ms from `min` to {@link longestDuration}. */
export function checkDuration(option: string, value: unknown, min = 0): void {
  if (typeof value === 'number' && value >= min && value <= longestDuration) return
  throw invalid(option, value, `must be a number of ms from ${min} to ${longestDuration}`)
}

/** Long enough to show every legal topic name in full. */
const longestShown = 300

/** A value as messages show it. Objects are shown by their kind only: they may be large, hold secrets, or throw when printed. */
function shown(value: unknown): string {
  if (typeof value === 'string') {
    const text = value.length > longestShown ? `${value.slice(0, longestShown)}…` : value
    return `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"')}'`
  }
  if (types.isDate(value)) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()
  if (typeof value === 'bigint') return `${value}n`
  return typeof value === 'object' || typeof value === 'function' ? kindOf(value) : String(value)
}

export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'string') return value === '' ? 'an empty string' : 'a string'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
