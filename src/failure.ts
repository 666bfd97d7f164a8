import type { FailureStage } from './delivery.js'
import type { ConsumeRecord } from './record.js'

export type Disposition = 'acked' | 'retried' | 'dead-lettered' | 'discarded'

/** A record that its pipeline failed, on its way down the topic's failure route. */
export class Failed {
  constructor(
    readonly record: ConsumeRecord<unknown>,
    /** What `fail` was given. */
    readonly reason: unknown,
    /** Which attempt failed; 1 is the first delivery. */
    readonly attempt: number,
    /** False: steps that would try again let it pass. */
    readonly retryable: boolean,
    /**
     * `decode`: its decoder rejected. (One that says that the bytes are bad fails the record with a `DecodeError`.) `pipeline`:
     * its pipeline dropped it. Default `handle`.
     */
    readonly stage?: FailureStage,
  ) {}
}

/**
 * A record that is done with. Opaque: only the steps of this library make one, so a route that type-checks has
 * accounted for every record.
 */
export interface Completed {
  /** There is no such property. It is what the compiler says of a route whose last step lets failed records pass. */
  readonly 'this route may leave a record failed: end it with deadLetter, discard or halt': true
  readonly record: ConsumeRecord<unknown>
  readonly disposition: Disposition
}

/** The same symbol in every copy of this package in the process: routes may mix steps of several. */
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

/** For steps alone; not exported from the package. */
export function completed(failed: Failed, disposition: Disposition): Completed {
  return new CompletedRecord(failed.record, disposition) as unknown as Completed
}

export function isCompleted(value: unknown): value is Completed {
  return typeof value === 'object' && value !== null && (value as Partial<CompletedRecord>)[completedBrand] === true
}
