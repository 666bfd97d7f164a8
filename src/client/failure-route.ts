import { from, type Observable, type OperatorFunction, Subject, type Subscription } from 'rxjs'
import { type Completed, Failed, isCompleted } from '../failure.js'
import { type DeliveredRecord, deliveryOf } from '../record.js'

/** How often a route may break while a record is in it before the record is held as unroutable. */
const breaksAllowed = 3

const notOfStep = 'the failure route emitted a value that is neither a Failed record nor a Completed one made by a step'

/** The steps of a route, built once, with their input and output. */
interface Pipeline {
  readonly input: Subject<Failed>
  readonly outcomes: Observable<unknown>
  /** Undefined until `subscribe` has returned. */
  subscription: Subscription | undefined
}

/** A record in the steps. */
interface Entry {
  readonly failed: Failed
  /** How often the route broke with this record among the suspects. */
  readonly breaks: number
}

/**
 * The failed records of one topic on their way through the steps of its route.
 *
 * The steps are one pipeline for all failures of a topic, so that they can batch and count. It is built when the route is
 * made, and subscribed to at the first failure. If user code in it throws, it is built again, and every record in it goes
 * through again; a record that broke it each time is held. If the pipeline breaks while it takes a record, that record is
 * the suspect. If it breaks at another time, all records in it are suspects. A step that batches breaks with the record that
 * fills its batch: once that suspect is held, the others become suspects too.
 *
 * `next` never throws, whatever the steps do, because `record.fail()` calls it in the middle of user code.
 */
export class FailureRoute {
  /** Built, and not subscribed to yet. */
  #built: Pipeline | undefined
  #pipeline: Pipeline | undefined
  /** The record that the pipeline is taking in. */
  #entering: DeliveredRecord | undefined
  readonly #onItsWay = new Map<DeliveredRecord, Entry>()
  /** Held as unroutable. */
  readonly #parked = new Map<DeliveredRecord, Failed>()
  #ended = false

  /**
   * Builds the steps, so that a mistake in them is thrown when the topic is registered.
   *
   * @throws what the steps throw; TypeError if they do not return an Observable.
   */
  constructor(
    readonly steps: OperatorFunction<Failed, Failed | Completed>,
    /** Holds a record that no step took, or with which the route broke. */
    readonly unroutable: (failed: Failed, cause: unknown) => void,
    /** Called for every failure that a step discarded. */
    readonly discarded: (failed: Failed) => void,
  ) {
    this.#built = this.#build()
  }

  /** How many records are in the steps. */
  get size(): number {
    return this.#onItsWay.size
  }

  next(failed: Failed): void {
    this.#send(deliveryOf(failed.record)!, { failed, breaks: 0 })
  }

  /** Keeps a record that no step took, or with which the route broke, until `resume`. */
  park(failed: Failed): void {
    this.#parked.set(deliveryOf(failed.record)!, failed)
  }

  /** Sends the kept records through the steps again. */
  resume(): void {
    const parked = [...this.#parked]
    this.#parked.clear()
    for (const [record, failed] of parked) {
      if (record.owner.routeAgain(record)) this.#send(record, { failed, breaks: 0 })
    }
  }

  /** The record left the steps without an outcome: it is held, redelivered, or its assignment has ended. */
  forget(record: DeliveredRecord): void {
    this.#onItsWay.delete(record)
  }

  /** Removes the records whose assignment has ended. */
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
    // If the steps broke while being built or subscribed to, the record was a suspect and has already been sent again.
    if (pipeline === undefined || this.#onItsWay.get(record) !== entry) return
    const outer = this.#entering
    this.#entering = record
    try {
      pipeline.input.next(entry.failed)
    } catch (error) {
      // RxJS's own operators catch exceptions. Other operators may not.
      this.#broken(pipeline, error)
    }
    this.#entering = outer
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
    const outer = this.#entering
    // An exception of `subscribe` is not the fault of a record.
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
    this.#entering = outer
    // It may have broken, or the route may have ended, before `subscribe` returned.
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
    if (outcome === undefined || record === undefined) throw new TypeError(notOfStep)
    const entry = this.#onItsWay.get(record)
    // A route with several branches may complete a record more than once.
    if (entry === undefined) return
    this.#onItsWay.delete(record)
    if (outcome instanceof Failed) return this.unroutable(outcome, undefined)
    if (!isCompleted(outcome)) return this.unroutable(entry.failed, new TypeError(notOfStep))
    if (outcome.disposition === 'discarded') this.discarded(entry.failed)
    record.owner.routed(record, outcome.disposition)
  }

  #broken(pipeline: Pipeline, cause: unknown): void {
    if (this.#pipeline !== pipeline) return
    this.#pipeline = undefined
    unsubscribe(pipeline)
    this.#again(cause, this.#entering)
  }

  /** Sends the records through the steps again, except those that broke them too often. */
  #again(cause: unknown, culprit: DeliveredRecord | undefined): void {
    const again = [...this.#onItsWay]
    const first = culprit === undefined ? undefined : this.#onItsWay.get(culprit)
    const all = culprit === undefined || (first !== undefined && first.breaks + 1 >= breaksAllowed)
    this.#onItsWay.clear()
    for (const [record, { failed, breaks }] of again) {
      const counted = all || record === culprit ? breaks + 1 : breaks
      if (counted >= breaksAllowed) this.unroutable(failed, cause)
      // A breaker in the broken steps may have held the record.
      else if (record.owner.release(record)) this.#send(record, { failed, breaks: counted })
    }
  }
}

function unsubscribe({ subscription }: Pipeline): void {
  try {
    subscription?.unsubscribe()
  } catch {
    // A teardown threw. These steps are not used any more, and their records go through new ones.
  }
}
