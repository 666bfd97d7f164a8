import type { FailureStage } from './delivery.js'
import type { ConsumeRecord } from './record.js'

/** How a record was completed: by `ack()`, by a copy on the retry or DLQ topic, or by `discard()`. */
export type Disposition = 'acked' | 'retried' | 'dead-lettered' | 'discarded'

/** A record that its pipeline failed, on its topic's failure route. */
export class Failed {
  constructor(
    /** The failed record. */
    readonly record: ConsumeRecord<unknown>,
    /** The reason passed to `fail`. */
    readonly reason: unknown,
    /** Which attempt failed; 1 is the first delivery. */
    readonly attempt: number,
    /** False: steps that would try again pass it on. */
    readonly retryable: boolean,
    /**
     * Where it failed. `decode`: its decoder rejected. (Bytes that cannot be decoded have a `DecodeError` as their reason.)
     * `pipeline`: its pipeline dropped it. Default: `handle`.
     */
    readonly stage?: FailureStage,
  ) {}
}

/**
 * A record that needs no more work. Opaque: only the steps of this library make one, so a route that type-checks accounts
 * for every record.
 */
export interface Completed {
  /** This property does not exist at run time. The compiler shows its name if a route's last step lets failed records pass. */
  readonly 'this route may leave a record failed: end it with deadLetter, discard or halt': true
  /** The completed record. */
  readonly record: ConsumeRecord<unknown>
  /** How it was completed. */
  readonly disposition: Disposition
}

/** The same symbol in every copy of this package in the process, because a route may combine steps of several copies. */
const completedBrand: unique symbol = Symbol.for('rxmika.completed') as never

class CompletedRecord {
  get [completedBrand](): true {
    return true
  }

  constructor(
    readonly record: ConsumeRecord<unknown>,
    readonly disposition: Disposition,
  ) {}
}

/** Only for steps; not exported from the package. */
export function completed(failed: Failed, disposition: Disposition): Completed {
  return new CompletedRecord(failed.record, disposition) as unknown as Completed
}

export function isCompleted(value: unknown): value is Completed {
  return typeof value === 'object' && value !== null && (value as Partial<CompletedRecord>)[completedBrand] === true
}
