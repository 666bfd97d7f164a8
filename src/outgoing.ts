import type { PublishError } from './errors.js'
import type { ProduceResult } from './produce-result.js'
import type { ProduceRecord } from './publish.js'

/**
 * One record to write, and who waits for it: one object a record, for tens of thousands may wait at once.
 *
 * Ends once, by `settle` or by `abandoned`. Until then a driver goes on trying, whatever the brokers say.
 */
export interface Outgoing {
  /** Full name. */
  readonly topic: string
  readonly key: Buffer | string | null | undefined
  /** Absent: chosen from the key as Java's client does, or in turns. */
  readonly partition: number | undefined
  /** The record; asked for once, when it is about to be sent. What it throws refuses the record for good. */
  record(): ProduceRecord
  /** False once nobody waits any more: what was not sent yet is left out. */
  readonly wanted: boolean
  /** It is in the log, or will never be: a refusal is for good. */
  settle(result: ProduceResult): void
  /** It was left out because nobody wanted it. It may be in the log where an attempt had no clear answer. */
  abandoned(): void
  /**
   * It is not written yet, for this reason, and is tried again.
   *
   * @param lasting Worth to be reported by itself. False of what mostly passes in a moment, such as a leader that moves, and
   * of what is known otherwise, such as brokers that cannot be reached.
   */
  delayed(error: PublishError, lasting: boolean): void
}
