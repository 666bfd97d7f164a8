export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return isObject(value) && typeof value.then === 'function'
}

export function isObject(value: unknown): value is { readonly [name: PropertyKey]: unknown } {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}
