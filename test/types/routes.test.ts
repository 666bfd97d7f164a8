import { filter, map, type OperatorFunction, pipe } from 'rxjs'
import { expectTypeOf, it } from 'vitest'
import { type Completed, Failed } from '../../src/failure.js'
import {
  type Backoff,
  breaker,
  deadLetter,
  discard,
  exponential,
  fixed,
  halt,
  redeliver,
  retryTopic,
  steps,
} from '../../src/retry/index.js'
import { StubClient } from '../marbles/stub-routing.js'

// Lines that must not compile are marked. The project's type check fails if such a line compiles.

type Route = OperatorFunction<Failed, Completed>
const client = new StubClient()

it('accepts routes that account for every record', () => {
  const routes: Route[] = [
    deadLetter(client),
    discard(),
    halt(client),
    pipe(retryTopic(client, { retries: 3 }), deadLetter(client)),
    pipe(redeliver(client, { attempts: 2 }), retryTopic(client, { retries: 3 }), discard()),
    pipe(retryTopic(client, { retries: 1 }), redeliver(client, { attempts: 2 }), halt(client)),
    pipe(breaker(client, { failures: 1, within: 1 }), deadLetter(client)),
    pipe(retryTopic(client, { retries: 3 }), breaker(client, { failures: 1, within: 1 }), discard()),
    // A step of one's own comes first, and steps follow that no longer see a failure.
    pipe(
      map(failed => new Failed(failed.record, 'hidden', failed.attempt, failed.retryable)),
      deadLetter(client),
    ),
    pipe(deadLetter(client), discard()),
  ]
  expectTypeOf(routes).items.toEqualTypeOf<Route>()
})

it('refuses routes that may leave a record failed', () => {
  // @ts-expect-error attempts may be used up
  const retried: Route = retryTopic(client, { retries: 3 })
  // @ts-expect-error attempts may be used up
  const redelivered: Route = pipe(retryTopic(client, { retries: 3 }), redeliver(client, { attempts: 2 }))
  // @ts-expect-error a breaker lets failures pass
  const broken: Route = pipe(retryTopic(client, { retries: 3 }), breaker(client, { failures: 1, within: 1 }))
  // @ts-expect-error nothing is done with it
  const untouched: Route = map(failed => failed)
  // @ts-expect-error only steps complete a record
  const made: Route = map(failed => ({ record: failed.record, disposition: 'acked' as const }))
  // @ts-expect-error a filter of one's own proves nothing
  const filtered: Route = pipe(
    retryTopic(client, { retries: 1 }),
    filter(value => !(value instanceof Failed)),
    map(value => ({ ...value })),
  )
  void [retried, redelivered, broken, untouched, made, filtered]
})

it('types steps by their output', () => {
  type Either = Failed | Completed
  expectTypeOf(retryTopic(client, { retries: 1 })).toEqualTypeOf<OperatorFunction<Either, Either>>()
  expectTypeOf(redeliver(client, { attempts: 1 })).toEqualTypeOf<OperatorFunction<Either, Either>>()
  expectTypeOf(breaker(client, { failures: 1, within: 1 })).toEqualTypeOf<OperatorFunction<Either, Either>>()
  expectTypeOf(deadLetter(client)).toEqualTypeOf<OperatorFunction<Either, Completed>>()
  expectTypeOf(discard()).toEqualTypeOf<OperatorFunction<Either, Completed>>()
  expectTypeOf(halt(client)).toEqualTypeOf<OperatorFunction<Either, Completed>>()
})

it('requires the number of attempts', () => {
  // @ts-expect-error retries is missing
  void (() => retryTopic(client, {}))
  // @ts-expect-error attempts is missing
  void (() => redeliver(client, {}))
  // @ts-expect-error within is missing
  void (() => breaker(client, { failures: 1 }))
})

it('accepts any function from attempt to delay as a backoff', () => {
  expectTypeOf<Backoff>().toEqualTypeOf<(attempt: number) => number>()
  for (const backoff of [fixed(1), steps([1]), exponential({ initial: 1 }), (attempt: number) => attempt * 100]) {
    expectTypeOf(backoff).toExtend<Backoff>()
    retryTopic(client, { retries: 1, backoff })
  }
})
