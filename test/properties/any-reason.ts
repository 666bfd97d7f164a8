/** Reasons that cannot be described, and some that can. Each call creates a new one. */
export const anyReasons: readonly (() => unknown)[] = [
  () => new Error('no'),
  () => undefined,
  () => null,
  () => Symbol('no'),
  () => 'x'.repeat(100_000),
  () => Object.create(null),
  () =>
    new Proxy({}, { get: () => raise(), getPrototypeOf: () => raise(), ownKeys: () => raise(), has: () => raise() }),
  () => new Proxy(new Error('no'), { get: () => raise() }),
  () =>
    Object.defineProperties(new Error('no'), {
      // Defined first, because Node reads name and message when it is defined.
      stack: { get: () => raise() },
      message: { get: () => raise() },
      name: { get: () => raise() },
      code: { get: () => raise() },
    }),
  () => Object.assign(new Error('no'), { message: 7, name: {}, stack: 'x'.repeat(1_000_000) }),
]

function raise(): never {
  throw new Error('cannot be read')
}
