import {
  bufferCount,
  concatMap,
  defer,
  EMPTY,
  from,
  map,
  NEVER,
  Observable,
  of,
  pipe,
  Subject,
  type Subscriber,
  type Subscription,
} from 'rxjs'
import { ConfigurationError, createClient, deadLetter, discard, retryTopic, type TopicOptions } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { FailureRoute } from '../../src/client/failure-route'
import { completed, type Failed } from '../../src/failure'
import type { DeliveredRecord } from '../../src/record'
import { eachFailed } from '../../src/retry/each-failed'
import { FakeOwner, fakeRecord } from '../marbles/fake-record'
import { failure } from '../marbles/stub-routing'

/** A route of these steps, and what leaves it. */
function setUp(steps: (failures: Observable<Failed>) => Observable<unknown>) {
  const held: string[] = []
  const discarded: string[] = []
  const route = new FailureRoute(
    steps as never,
    ({ record }, cause) => held.push(`${record.key} ${cause instanceof Error ? cause.message : cause}`),
    ({ record }) => discarded.push(String(record.key)),
  )
  return { route, held, discarded }
}

describe('a failure route', () => {
  it('builds its steps once, when it is created, and subscribes to them at the first failure', () => {
    let built = 0
    let subscribed = 0
    const { route, discarded } = setUp(failures => {
      built++
      return defer(() => {
        subscribed++
        return failures.pipe(discard())
      })
    })
    expect([built, subscribed]).toEqual([1, 0])
    route.next(failure('a'))
    route.next(failure('b'))
    expect([built, subscribed]).toEqual([1, 1])
    expect(discarded).toEqual(['a', 'b'])
  })

  it('passes a record to its steps once, whatever broke when they were subscribed to', () => {
    let subscribed = 0
    const seen: string[] = []
    const { route, discarded } = setUp(failures =>
      defer(() => {
        if (++subscribed < 3) throw new TypeError('not yet')
        return failures.pipe(
          map(failed => {
            seen.push(String(failed.record.key))
            return failed
          }),
          discard(),
        )
      }),
    )
    route.next(failure('a'))
    route.next(failure('b'))
    expect([seen, discarded]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ])
  })

  it('holds each record, with the cause, while it cannot be built again, and continues once it can', () => {
    let broken = false
    const { route, held, discarded } = setUp(failures => {
      if (broken) throw new TypeError('cannot be built')
      return failures.pipe(
        map(failed => {
          if (String(failed.record.key) !== 'poison') return failed
          broken = true
          throw new TypeError('poison')
        }),
        discard(),
      )
    })
    for (const name of ['a', 'poison', 'b', 'c']) route.next(failure(name))
    broken = false
    route.next(failure('d'))
    expect(discarded).toEqual(['a', 'd'])
    expect(held).toEqual(['poison cannot be built', 'b cannot be built', 'c cannot be built'])
  })

  it('holds a record that breaks every batch it is in, and few others', () => {
    const { route, held, discarded } = setUp(failures =>
      failures.pipe(
        bufferCount(2),
        concatMap(batch => {
          if (batch.some(({ record }) => String(record.key) === '0')) throw new Error('poison')
          return from(batch.map(failed => completed(failed, 'discarded')))
        }),
      ),
    )
    for (let name = 0; name < 20; name++) route.next(failure(String(name)))
    // A failure that fills its batch is held after three breaks, and counts as one break of the poison.
    expect([...held].sort()).toEqual(['0 poison', '1 poison', '2 poison', '3 poison'])
    expect(discarded).toHaveLength(16)
  })

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a text', 'done'],
    ['a record of its own making', { record: { key: 'a' }, disposition: 'acked' }],
  ])('holds a record for which its steps emit %s', (_, garbage) => {
    const { route, held } = setUp(map(() => garbage))
    route.next(failure('a'))
    expect(held).toEqual([expect.stringContaining('a the failure route emitted a value that is neither')])
  })

  it('says that only a step makes a Completed, if its steps emit one of their own making', () => {
    const { route, held } = setUp(map(({ record }) => ({ record, disposition: 'discarded' })))
    route.next(failure('a'))
    expect(held).toEqual([expect.stringContaining('nor a Completed one made by a step')])
  })

  it('keeps no record whose assignment has ended', () => {
    const { route } = setUp(() => NEVER)
    const [mine, lost] = [new FakeOwner(), new FakeOwner()]
    for (const owner of [mine, lost, lost]) {
      const record = fakeRecord({ owner })
      route.next({ record, reason: 'no', attempt: 1, retryable: true })
    }
    expect(route.size).toBe(3)
    lost.end()
    route.forgetEnded()
    expect(route.size).toBe(1)
  })

  it('keeps no record that has an outcome, that was dropped, or that was in flight at its end', () => {
    const outcomes = new Subject<unknown>()
    const { route } = setUp(() => outcomes)
    const [a, b, c] = [failure('a'), failure('b'), failure('c')]
    for (const failed of [a, b, c]) route.next(failed)
    outcomes.next(completed(a, 'discarded'))
    expect(route.size).toBe(2)
    route.forget(b.record as DeliveredRecord)
    expect(route.size).toBe(1)
    route.end()
    expect(route.size).toBe(0)
    expect(outcomes.observed).toBe(false)
  })

  it('is not built again after its end, even if a listener ends it while it breaks', () => {
    let built = 0
    const route: FailureRoute = new FailureRoute(
      () => {
        built++
        return new Observable(subscriber => subscriber.error(new Error('broken')))
      },
      () => route.end(),
      () => {},
    )
    route.next(failure('a'))
    const before = built
    route.next(failure('b'))
    expect(built).toBe(before)
    expect(route.size).toBe(0)
  })
})

describe('a step', () => {
  it('keeps no subscription of a completed failure', () => {
    let left = 0
    /** Counts unsubscriptions. */
    class Counted extends Observable<Failed> {
      override subscribe(...observer: unknown[]): Subscription {
        const subscription = super.subscribe(...(observer as []))
        const unsubscribe = subscription.unsubscribe.bind(subscription)
        subscription.unsubscribe = () => {
          left++
          unsubscribe()
        }
        return subscription
      }
    }
    const outcomes: Subscriber<Failed>[] = []
    const input = new Subject<Failed>()
    const route = eachFailed(() => new Counted(subscriber => void outcomes.push(subscriber)))
    const subscription = input.pipe(route).subscribe()
    for (let at = 0; at < 1_000; at++) {
      input.next(failure(String(at)))
      outcomes.at(-1)!.complete()
    }
    input.next(failure('under way'))
    left = 0
    subscription.unsubscribe()
    expect(left).toBe(1)
    expect(outcomes.at(-1)!.closed).toBe(true)
  })
})

describe('client.topic()', () => {
  const client = () =>
    createClient({
      ...{ driver: memoryBroker().driver(), group: 'g', retryTopic: 'retries', logger: false, env: {} },
    })
  const refusal = (options: (with_: ReturnType<typeof client>) => TopicOptions): Error => {
    const target = client()
    let thrown: unknown
    try {
      target.topic('orders', options(target))
    } catch (error) {
      thrown = error
    }
    // The refused call did not register the topic.
    expect(() => target.topic('orders')).not.toThrow()
    expect(thrown).toBeInstanceOf(ConfigurationError)
    return thrown as Error
  }
  const bug = new TypeError('a bug')

  it.each<[string, (with_: ReturnType<typeof client>) => TopicOptions, ...string[]]>([
    ['that throws', () => ({ onFail: () => raise(bug) }), 'cannot be built', 'a bug'],
    ['whose operator throws', () => ({ onFail: pipe(() => raise(bug), discard()) }), 'cannot be built', 'a bug'],
    ['that returns nothing', () => ({ onFail: (() => undefined) as never }), 'return an Observable'],
    ['that returns a promise', () => ({ onFail: (async () => EMPTY) as never }), 'return an Observable'],
    ['without a DLQ topic', with_ => ({ onFail: failures => failures.pipe(deadLetter(with_)) }), 'dlqTopic'],
    [
      'with a wrong option',
      with_ => ({ onFail: failures => failures.pipe(retryTopic(with_, { retries: -1 }), discard()) }),
      'retries',
      '-1',
    ],
    ['whose backoff throws', () => ({ retries: 1, backoff: () => raise(bug) }), 'backoff(2)'],
    [
      'with retryTopic, where the topic has a keyFence',
      with_ => ({
        keyFence: { afterDeadLetter: 'continue' },
        onFail: pipe(retryTopic(with_, { retries: 1 }), discard()),
      }),
      'retryTopic',
      'keyFence',
      'redeliver',
    ],
  ])('refuses a route %s, with a ConfigurationError that names the topic', (_, options, ...said) => {
    const { message, cause } = refusal(options)
    for (const part of ["topic 'orders'", ...said]) expect(message).toContain(part)
    expect(cause).toBeDefined()
  })

  it('accepts retryTopic in the route of one topic, whatever options another topic has', () => {
    const target = client()
    const route = pipe(retryTopic(target, { retries: 1 }), discard())
    expect(() => target.topic('a', { keyFence: { afterDeadLetter: 'continue' }, onFail: route })).toThrow('keyFence')
    expect(() => target.topic('b', { onFail: route })).not.toThrow()
    expect(() => of(failure('a')).pipe(route)).not.toThrow()
  })
})

function raise(error: Error): never {
  throw error
}
