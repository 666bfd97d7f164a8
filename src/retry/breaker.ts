import { Observable, type OperatorFunction, take } from 'rxjs'
import { FloodError } from '../errors.js'
import { type Completed, type Failed, isCompleted } from '../failure.js'
import { subscribeLinked } from '../operators/subscribe-linked.js'
import { checkDuration, checkInteger, checkOptions, type KnownOptions } from '../options.js'
import type { RoutingClient } from '../routing.js'
import { routingOf } from './routing-of.js'

export interface BreakerOptions {
  /** How many failures may pass within any time of that length; a whole number, 0 too. One more trips the breaker. */
  readonly failures: number
  /** ms; at least 1. */
  readonly within: number
}

const known: KnownOptions<BreakerOptions> = { failures: true, within: true }

/**
 * Stops a topic whose failures come in a flood, instead of pouring the topic into the DLQ because a downstream is dead.
 *
 * When more than `failures` failures reach it within `within` ms, the topic is paused, a `FloodError` goes to the client's
 * `errors` and a `tripped` event to its `events`. That failure and all that follow are held here, uncommitted, until
 * `client.resume(topic)`: then they go on to the next step in their order, and counting starts afresh. A failure that is
 * exactly `within` ms old counts no more. What is held is bounded by `maxInFlight`, for nothing more is delivered
 * meanwhile; neither a rebalance nor a graceful close waits for it, so after either it is delivered again.
 *
 * Place it before the step that gives records up: what is retried does not reach it then. Each client counts for itself.
 *
 * @example
 * const route = pipe(
 *   retryTopic(client, { retries: 3 }),
 *   breaker(client, { failures: 100, within: 60_000 }),
 *   deadLetter(client),
 * )
 *
 * @throws ConfigurationError when an option is invalid.
 */
export function breaker(
  client: RoutingClient,
  options: BreakerOptions,
): OperatorFunction<Failed | Completed, Failed | Completed> {
  const port = routingOf(client, 'breaker')
  checkOptions('breaker', options, known)
  const { failures, within } = options
  checkInteger('breaker: failures', failures, 0)
  checkDuration('breaker: within', within, 1)

  return source =>
    new Observable(subscriber => {
      let passed = new RecentTimes(failures, within)
      let held: Failed[] | undefined
      let sourceCompleted = false
      const end = () => {
        if (sourceCompleted && held === undefined) subscriber.complete()
      }
      // An operator behind this step that catches nothing breaks the route, and not the process.
      const give = (value: Failed | Completed) => {
        try {
          subscriber.next(value)
        } catch (error) {
          subscriber.error(error)
        }
      }
      const release = () => {
        const released = held ?? []
        held = undefined
        passed = new RecentTimes(failures, within)
        // Those whose partition was given up meanwhile are delivered again elsewhere.
        for (const failed of released) if (port.release(failed)) give(failed)
        end()
      }
      const hold = (failed: Failed) => {
        port.hold(failed)
        held?.push(failed)
      }
      const trip = (failed: Failed) => {
        held = []
        hold(failed)
        const { topic } = failed.record
        const error = new FloodError(topic, failures, within, { cause: failed.reason })
        subscriber.add(port.trip(error).pipe(take(1)).subscribe(release))
      }
      subscribeLinked(source, subscriber, {
        next: value => {
          if (isCompleted(value)) give(value)
          else if (held !== undefined) hold(value)
          else if (passed.take(port.clock.monotonic())) give(value)
          else trip(value)
        },
        error: error => subscriber.error(error),
        complete: () => {
          sourceCompleted = true
          end()
        },
      })
    })
}

/** When the newest `limit` of something happened. */
class RecentTimes {
  readonly #times: number[] = []
  #oldest = 0

  constructor(
    readonly limit: number,
    readonly within: number,
  ) {}

  /** Notes one more; false, and not noted: there were `limit` within the time before it. */
  take(now: number): boolean {
    if (this.limit === 0) return false
    if (this.#times.length < this.limit) {
      this.#times.push(now)
      return true
    }
    if (now - this.#times[this.#oldest]! < this.within) return false
    this.#times[this.#oldest] = now
    this.#oldest = (this.#oldest + 1) % this.limit
    return true
  }
}
