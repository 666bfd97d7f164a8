import { WriteError } from './leaders.js'

export interface Reason {
  readonly why: string
  readonly permanent: boolean
  /** Whether something may have reached a broker. */
  readonly sent: boolean
}

/** What an error of `Leaders` means. */
export function reasonOf(error: unknown): Reason {
  if (error instanceof WriteError) return { why: error.message, permanent: error.permanent, sent: !error.unsent }
  return { why: error instanceof Error ? error.message : String(error), permanent: false, sent: true }
}
