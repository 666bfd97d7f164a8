import { inspect, types } from 'node:util'

// A record may fail with any value: a string, undefined, an object whose getters throw. Describing it never throws.

/** The message of a failure. */
export function messageOf(reason: unknown): string {
  return described(() => {
    if (reason === undefined) return 'no reason given'
    if (typeof reason === 'string') return reason
    if (isError(reason)) return String(reason.message) || nameOf(reason)
    return inspect(reason, { depth: 1, maxStringLength: 1_000, breakLength: Number.POSITIVE_INFINITY })
  })
}

/** The class name of a failure, or its type if it is not an error; `NoReasonGiven` for undefined. */
export function nameOf(reason: unknown): string {
  return described(() => {
    if (reason === undefined) return 'NoReasonGiven'
    if (isError(reason)) return String(reason.name) || 'Error'
    return reason === null ? 'null' : typeof reason
  })
}

export function stackOf(reason: unknown): string | undefined {
  const stack = described(() => (isError(reason) ? String(reason.stack ?? '') : ''))
  return stack === '' ? undefined : stack
}

/** Also recognizes errors of other realms: a test runner or a sandbox has its own `Error`. */
function isError(reason: unknown): reason is Error {
  return types.isNativeError(reason) || reason instanceof Error
}

function described(describe: () => string): string {
  try {
    return describe()
  } catch {
    return 'a failure that cannot be described'
  }
}
