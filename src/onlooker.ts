import type { Observable } from 'rxjs'
import type { RxMikaError } from './errors.js'

/**
 * Where a client keeps what its tools see of it, beside what its user sees. The same symbol in every copy of this package
 * in the process: a tool of one copy may be given a client of another.
 */
export const onlooker: unique symbol = Symbol.for('rxmika.onlooker') as never

/** What a tool that looks on is given. */
export interface Onlooker {
  readonly clientId: string
  /** Full name, suffix included. */
  readonly group: string | undefined
  /** As users name them. */
  readonly retryTopic: string | undefined
  readonly dlqTopic: string | undefined
  /** As `client.errors`, without those of before. What is kept there for the first subscriber stays kept for the user. */
  readonly errors: Observable<RxMikaError>
}
