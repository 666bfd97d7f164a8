import { inspect } from 'node:util'

// A record may fail with anything: a string, nothing, an object whose getters throw. Describing it never throws.

/** What a failure says of itself. */
export function messageOf(reason: unknown): string {
  return described(() => {
    if (reason === undefined) return 'no reason given'
    if (typeof reason === 'string') return reason
    if (reason instanceof Error) return String(reason.message) || nameOf(reason)
    return inspect(reason, { depth: 1, maxStringLength: 1_000, breakLength: Number.POSITIVE_INFINITY })
  })
}

/** The name of a failure's class, or its type where it is no error. */
export function nameOf(reason: unknown): string {
  return described(() => (reason instanceof Error ? String(reason.name) : typeof reason))
}

export function stackOf(reason: unknown): string | undefined {
  const stack = described(() => (reason instanceof Error ? String(reason.stack ?? '') : ''))
  return stack === '' ? undefined : stack
}

function described(describe: () => string): string {
  try {
    return describe()
  } catch {
    return 'a failure that cannot be described'
  }
}
