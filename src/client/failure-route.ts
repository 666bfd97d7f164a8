import { type OperatorFunction, Subject, Subscription } from 'rxjs'
import { type Completed, type Failed, isCompleted } from '../failure.js'
import { type DeliveredRecord, deliveryOf } from '../record.js'

/** How often a route may break with a record on its way before the record is held as unroutable. */
const breaksAllowed = 3

/**
 * A topic's failed records on their way through its steps.
 *
 * The steps are one pipeline for all of a topic's failures, so that they can batch and count. When user code in it
 * throws, the pipeline is made anew and what was on its way goes through again; a record that broke it each time is
 * held. Where the pipeline breaks while it takes a record in, that one is the first suspect; where it breaks later, all are
 * that were on their way. A step that batches breaks with the record that fills its batch: when the suspect is held, the
 * others are suspects too.
 */
export class FailureRoute {
  #input = new Subject<Failed>()
  #subscription: Subscription | undefined
  /** What the pipeline is being given. */
  #entering: DeliveredRecord | undefined
  readonly #onItsWay = new Map<DeliveredRecord, { failed: Failed; breaks: number }>()

  constructor(
    readonly steps: OperatorFunction<Failed, Failed | Completed>,
    readonly unroutable: (failed: Failed, cause: unknown) => void,
    /** Told of every failure that ended without a copy, by the user's own wish. */
    readonly discarded: (failed: Failed) => void,
  ) {}

  next(failed: Failed): void {
    this.#send(failed, 0)
  }

  /** The record left its steps without an outcome: it is held, delivered again, or no longer ours. */
  forget(record: DeliveredRecord): void {
    this.#onItsWay.delete(record)
  }

  /** Lets go of records that are no longer ours. */
  forgetEnded(): void {
    for (const record of this.#onItsWay.keys()) if (record.owner.ended) this.#onItsWay.delete(record)
  }

  end(): void {
    this.#subscription?.unsubscribe()
    this.#subscription = undefined
    this.#onItsWay.clear()
  }

  #send(failed: Failed, breaks: number): void {
    const record = deliveryOf(failed.record)!
    this.#onItsWay.set(record, { failed, breaks })
    if (this.#subscription === undefined) this.#connect()
    const around = this.#entering
    this.#entering = record
    this.#input.next(failed)
    this.#entering = around
  }

  #connect(): void {
    this.#input = new Subject()
    this.#subscription = new Subscription()
    this.#subscription.add(
      this.#input.pipe(this.steps).subscribe({
        next: outcome => this.#leave(outcome),
        error: error => this.#again(error),
        complete: () => this.#again(new Error('the failure route completed while its topic goes on')),
      }),
    )
  }

  #leave(outcome: Failed | Completed): void {
    const record = deliveryOf(outcome.record)
    const entry = record && this.#onItsWay.get(record)
    if (record === undefined || entry === undefined) return
    this.#onItsWay.delete(record)
    if (!isCompleted(outcome)) return this.unroutable(outcome, undefined)
    if (outcome.disposition === 'discarded') this.discarded(entry.failed)
    record.owner.routed(record, outcome.disposition)
  }

  #again(cause: unknown): void {
    this.#subscription = undefined
    const culprit = this.#entering
    const again = [...this.#onItsWay]
    const first = culprit === undefined ? undefined : this.#onItsWay.get(culprit)
    const all = culprit === undefined || (first !== undefined && first.breaks + 1 >= breaksAllowed)
    this.#onItsWay.clear()
    for (const [record, { failed, breaks }] of again) {
      const counted = all || record === culprit ? breaks + 1 : breaks
      if (counted >= breaksAllowed) this.unroutable(failed, cause)
      else this.#send(failed, counted)
    }
  }
}
