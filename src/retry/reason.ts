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

/** What happened, for a log line or a message: `Error: declined`. At most `maxReasonLength` characters of each part. */
export function summaryOf(reason: unknown): string {
  return `${shortened(nameOf(reason))}: ${shortened(messageOf(reason))}`
}

/** How many characters of a failure's name or message are logged. */
const maxReasonLength = 300

export function shortened(text: string): string {
  return text.length > maxReasonLength ? `${text.slice(0, maxReasonLength)}…` : text
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
