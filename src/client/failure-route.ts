import { from, type Observable, type OperatorFunction, Subject, type Subscription } from 'rxjs'
import { type Completed, Failed, isCompleted } from '../failure.js'
import { type DeliveredRecord, deliveryOf } from '../record.js'

/** How often a route may break with a record on its way before the record is held as unroutable. */
const breaksAllowed = 3

/** The steps of a route, built once: what they are fed with, and what comes out of them. */
interface Pipeline {
  readonly input: Subject<Failed>
  readonly outcomes: Observable<unknown>
  /** Undefined until `subscribe` has returned. */
  subscription: Subscription | undefined
}

/** A record on its way through the steps. */
interface Entry {
  readonly failed: Failed
  /** How often the route broke with this record among the suspects. */
  readonly breaks: number
}

/**
 * A topic's failed records on their way through its steps.
 *
 * The steps are one pipeline for all of a topic's failures, so that they can batch and count. It is built when the route
 * is made and subscribed to at the first failure. When user code in it throws, it is built again, and every record on its
 * way goes through again; a record that broke it each time is held. Where the pipeline breaks while it takes a record in,
 * that record is the suspect; where it breaks later, all records on their way are. A step that batches breaks with the
 * record that fills its batch: when that suspect is held, the others are suspects too.
 *
 * `next` never throws, whatever the steps do: it is called by `record.fail()`, in the middle of user code.
 */
export class FailureRoute {
  /** Built and not yet subscribed to. */
  #built: Pipeline | undefined
  #pipeline: Pipeline | undefined
  /** The record that the pipeline is taking in. */
  #entering: DeliveredRecord | undefined
  readonly #onItsWay = new Map<DeliveredRecord, Entry>()
  /** Unroutable, and held. */
  readonly #parked = new Map<DeliveredRecord, Failed>()
  #ended = false

  /**
   * Builds the steps, so that a mistake in them is thrown where the topic is registered.
   *
   * @throws what the steps throw, and a TypeError if they do not return an Observable.
   */
  constructor(
    readonly steps: OperatorFunction<Failed, Failed | Completed>,
    /** Holds a record that no step took, or that the route broke with. */
    readonly unroutable: (failed: Failed, cause: unknown) => void,
    /** Called for every failure that ended without a copy because the user wanted that. */
    readonly discarded: (failed: Failed) => void,
  ) {
    this.#built = this.#build()
  }

  /** Records that have neither an outcome nor been forgotten. */
  get size(): number {
    return this.#onItsWay.size
  }

  next(failed: Failed): void {
    this.#send(deliveryOf(failed.record)!, { failed, breaks: 0 })
  }

  /** No step took it, or the route broke with it: it is kept until `resume` sends it through once more. */
  park(failed: Failed): void {
    this.#parked.set(deliveryOf(failed.record)!, failed)
  }

  /** Sends what is parked through the steps once more. */
  resume(): void {
    const parked = [...this.#parked]
    this.#parked.clear()
    for (const [record, failed] of parked) {
      if (record.owner.routeAgain(record)) this.#send(record, { failed, breaks: 0 })
    }
  }

  /** The record left its steps without an outcome: it is held, redelivered, or no longer assigned to this member. */
  forget(record: DeliveredRecord): void {
    this.#onItsWay.delete(record)
  }

  /** Forgets the records whose assignment has ended. */
  forgetEnded(): void {
    for (const record of this.#onItsWay.keys()) if (record.owner.ended) this.#onItsWay.delete(record)
    for (const record of this.#parked.keys()) if (record.owner.ended) this.#parked.delete(record)
  }

  end(): void {
    this.#ended = true
    const pipeline = this.#pipeline
    this.#pipeline = undefined
    this.#built = undefined
    this.#onItsWay.clear()
    this.#parked.clear()
    if (pipeline !== undefined) unsubscribe(pipeline)
  }

  #send(record: DeliveredRecord, entry: Entry): void {
    if (this.#ended) return
    this.#onItsWay.set(record, entry)
    const pipeline = this.#connected()
    // If the steps broke when they were built or subscribed to, this record was among the suspects and has gone on since.
    if (pipeline === undefined || this.#onItsWay.get(record) !== entry) return
    const around = this.#entering
    this.#entering = record
    try {
      pipeline.input.next(entry.failed)
    } catch (error) {
      // RxJS's own operators catch what a function throws. Others need not.
      this.#broken(pipeline, error)
    }
    this.#entering = around
  }

  #build(): Pipeline {
    const input = new Subject<Failed>()
    const outcomes: unknown = this.steps(input)
    if (typeof (outcomes as Observable<unknown> | undefined)?.subscribe !== 'function') {
      throw new TypeError('the route must return an Observable')
    }
    return { input, outcomes: from(outcomes as Observable<unknown>), subscription: undefined }
  }

  #connected(): Pipeline | undefined {
    if (this.#pipeline !== undefined) return this.#pipeline
    let pipeline: Pipeline
    try {
      pipeline = this.#built ?? this.#build()
    } catch (error) {
      this.#again(error, undefined)
      return undefined
    }
    this.#built = undefined
    this.#pipeline = pipeline
    const around = this.#entering
    // What is thrown by a subscription is no record's fault.
    this.#entering = undefined
    try {
      pipeline.subscription = pipeline.outcomes.subscribe({
        next: outcome => this.#take(pipeline, outcome),
        error: error => this.#broken(pipeline, error),
        complete: () => this.#broken(pipeline, new Error('the failure route completed while its topic goes on')),
      })
    } catch (error) {
      this.#broken(pipeline, error)
    }
    this.#entering = around
    // Broken, or ended by a listener, before `subscribe` returned.
    if (this.#pipeline !== pipeline) unsubscribe(pipeline)
    return this.#pipeline
  }

  #take(pipeline: Pipeline, outcome: unknown): void {
    if (this.#pipeline !== pipeline) return
    try {
      this.#leave(outcome as Failed | Completed | undefined)
    } catch (error) {
      this.#broken(pipeline, error)
    }
  }

  #leave(outcome: Failed | Completed | undefined): void {
    const record = deliveryOf(outcome?.record)
    if (outcome === undefined || record === undefined)
      throw new TypeError('the failure route emitted what is neither a failed nor a completed record')
    const entry = this.#onItsWay.get(record)
    // A route that forks may complete a record more than once.
    if (entry === undefined) return
    this.#onItsWay.delete(record)
    if (!isCompleted(outcome)) return this.unroutable(outcome instanceof Failed ? outcome : entry.failed, undefined)
    if (outcome.disposition === 'discarded') this.discarded(entry.failed)
    record.owner.routed(record, outcome.disposition)
  }

  #broken(pipeline: Pipeline, cause: unknown): void {
    if (this.#pipeline !== pipeline) return
    this.#pipeline = undefined
    unsubscribe(pipeline)
    this.#again(cause, this.#entering)
  }

  /** Sends every record on its way through the steps again, those that broke them too often excepted. */
  #again(cause: unknown, culprit: DeliveredRecord | undefined): void {
    const again = [...this.#onItsWay]
    const first = culprit === undefined ? undefined : this.#onItsWay.get(culprit)
    const all = culprit === undefined || (first !== undefined && first.breaks + 1 >= breaksAllowed)
    this.#onItsWay.clear()
    for (const [record, { failed, breaks }] of again) {
      const counted = all || record === culprit ? breaks + 1 : breaks
      if (counted >= breaksAllowed) this.unroutable(failed, cause)
      // A breaker in the steps that broke may have held it.
      else if (record.owner.release(record)) this.#send(record, { failed, breaks: counted })
    }
  }
}

function unsubscribe({ subscription }: Pipeline): void {
  try {
    subscription?.unsubscribe()
  } catch {
    // A teardown that throws. The steps are given up already, and their records go through new ones.
  }
}
