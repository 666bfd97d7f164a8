import { Observable, type OperatorFunction, take } from 'rxjs'
import { FloodError } from '../errors.js'
import { type Completed, type Failed, isCompleted } from '../failure.js'
import { subscribeLinked } from '../operators/subscribe-linked.js'
import { checkDuration, checkInteger, checkOptions, type KnownOptions } from '../options.js'
import type { RoutingClient } from '../routing.js'
import { routingOf } from './routing-of.js'

/** The options of `breaker`. */
export interface BreakerOptions {
  /** How many failures are passed on within any period of `within` ms; an integer ≥ 0. One more trips the breaker. */
  readonly failures: number
  /** The length of the period in ms; at least 1. */
  readonly within: number
}

const known: KnownOptions<BreakerOptions> = { failures: true, within: true }

/**
 * Pauses a topic when too many of its records fail, so that a broken dependency does not move the whole topic to the DLQ.
 *
 * When more than `failures` failures reach this step within `within` ms, it pauses the topic, emits a `FloodError` on the
 * client's `errors` and a `tripped` event on `events`. This failure and all later ones are held here, uncommitted, until
 * `client.resume(topic)`. Then they go to the next step in their order, and the count starts at 0. A failure that is exactly
 * `within` ms old does not count any more.
 *
 * `maxInFlight` bounds what is held, because a paused topic delivers nothing. Neither a rebalance nor a graceful close
 * waits for held records: after either they are delivered again.
 *
 * Place it right before the step that gives records up, so that failures that are retried do not count. Each client counts
 * for itself.
 *
 * @example
 * const route = pipe(
 *   retryTopic(client, { retries: 3 }),
 *   breaker(client, { failures: 100, within: 60_000 }),
 *   deadLetter(client),
 * )
 *
 * @throws ConfigurationError if an option is invalid.
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
      // If a later operator of the route throws, that errors the route and does not end the process.
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
        // Not those whose partition was revoked meanwhile: they are delivered again elsewhere.
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

/** The times of the latest `limit` calls. */
class RecentTimes {
  readonly #times: number[] = []
  #oldest = 0

  constructor(
    readonly limit: number,
    readonly within: number,
  ) {}

  /** Adds a time. Returns false, and does not add it, if there were `limit` calls within the period before it. */
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
