import type { PublishError } from './errors.js'
import type { ProduceResult } from './produce-result.js'
import type { ProduceRecord } from './publish.js'

/**
 * One record to write, with the callbacks of its caller. It is one object per record, because tens of thousands may wait.
 *
 * Ends once, by `settle` or by `abandoned`. Until then a driver retries, whatever the brokers answer.
 */
export interface Outgoing {
  /** Full name. */
  readonly topic: string
  /** The key of the record. */
  readonly key: Buffer | string | null | undefined
  /** Absent: chosen by the key as Java's client does; without a key, in turn. */
  readonly partition: number | undefined
  /** Returns the record. Called once, right before it is sent. If it throws, the record is refused for good. */
  record(): ProduceRecord
  /** False once the caller does not wait any more: a record that is not sent yet is dropped. */
  readonly wanted: boolean
  /** The record is in the log, or it was refused for good. */
  settle(result: ProduceResult): void
  /** The record was dropped because it was no longer wanted. It may be in the log if an attempt had no clear answer. */
  abandoned(): void
  /**
   * The record is not written yet, for this reason, and the driver tries again.
   *
   * @param lasting True: worth its own report. False: usually over in a moment, such as a leader election, or reported
   * otherwise, such as brokers that cannot be reached.
   */
  delayed(error: PublishError, lasting: boolean): void
}
