import fc from 'fast-check'
import {
  concatMap,
  type MonoTypeOperatorFunction,
  map,
  mergeMap,
  Observable,
  type OperatorFunction,
  config as rxjs,
  Subscriber,
  timer,
  UnsubscriptionError,
  type VirtualTimeScheduler,
} from 'rxjs'
import {
  type CloseReport,
  type Completed,
  createClient,
  deadLetter,
  discard,
  type Failed,
  PublishError,
  type RxMikaError,
  retryTopic,
  UnroutableFailureError,
} from 'rxmika'
import type { StoredRecord } from 'rxmika/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { virtualBroker } from '../virtual-broker'
import { anyReasons } from './any-reason'

type Either = Failed | Completed

/** When a part of a route misbehaves: at the `from`th time and the `times - 1` after it. */
interface Window {
  readonly from: number
  readonly times: number
}

const kinds = [
  ...['sound', 'build', 'no-observable', 'subscribe', 'error', 'complete', 'teardown', 'raw'],
  ...['record', 'later', 'in-turn', 'garbage', 'garbage-later', 'garbage-beside'],
] as const

interface Saboteur {
  readonly kind: (typeof kinds)[number]
  readonly window: Window
  readonly garbage: unknown
}

/** A user's operator that only misbehaves. */
function sabotage({ kind, window, garbage }: Saboteur, clock: VirtualTimeScheduler): MonoTypeOperatorFunction<Either> {
  let count = 0
  const due = () => {
    count++
    return count >= window.from && count < window.from + window.times
  }
  const trip = () => {
    if (due()) throw new TypeError(`a bug: ${kind}`)
  }
  const tripped = <T>(value: T): T => {
    trip()
    return value
  }
  switch (kind) {
    case 'sound':
      return source => source
    case 'build':
      return tripped
    case 'no-observable':
      return source => (due() ? (garbage as Observable<Either>) : source)
    case 'subscribe':
      return source =>
        new Observable(subscriber => {
          trip()
          return source.subscribe(subscriber)
        })
    case 'error':
      return source =>
        new Observable(subscriber => (due() ? subscriber.error(new TypeError('a bug')) : source.subscribe(subscriber)))
    case 'complete':
      return source => new Observable(subscriber => (due() ? subscriber.complete() : source.subscribe(subscriber)))
    case 'teardown':
      return source =>
        new Observable(subscriber => {
          subscriber.add(trip)
          return source.subscribe(subscriber)
        })
    case 'raw':
      // An operator of another library, which catches nothing.
      return source =>
        new Observable(subscriber => {
          class Raw extends Subscriber<Either> {
            protected override _next(value: Either): void {
              trip()
              subscriber.next(value)
            }
          }
          return source.subscribe(new Raw(subscriber))
        })
    case 'record':
      return map(tripped)
    case 'later':
      return mergeMap(value => timer(3, clock).pipe(map(() => tripped(value))))
    case 'in-turn':
      return concatMap(value => timer(1, clock).pipe(map(() => tripped(value))))
    case 'garbage':
      return map(value => (due() ? (garbage as Either) : value))
    case 'garbage-later':
      return mergeMap(value => timer(3, clock).pipe(map(() => (due() ? (garbage as Either) : value))))
    case 'garbage-beside':
      return mergeMap(value => (due() ? [garbage as Either, value] : [value]))
  }
}

const window: fc.Arbitrary<Window> = fc.record({
  from: fc.integer({ min: 1, max: 8 }),
  times: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constant(Number.POSITIVE_INFINITY)),
})
const saboteur: fc.Arbitrary<Saboteur> = fc.record({
  kind: fc.constantFrom(...kinds),
  window,
  garbage: fc.constantFrom(undefined, null, 'text', 7, {}, { record: {} }, { record: null }, [], () => {}),
})
const plan = fc.record({
  saboteurs: fc.tuple(saboteur, saboteur, saboteur),
  lastStep: fc.constantFrom('deadLetter', 'discard', 'none'),
  backoff: fc.constantFrom<'throws' | number>('throws', Number.NaN, -1, Number.POSITIVE_INFINITY, 0, 2, 5),
  records: fc.array(
    fc.record({ reason: fc.nat(anyReasons.length - 1), retry: fc.boolean(), at: fc.integer({ min: 0, max: 6 }) }),
    { minLength: 1, maxLength: 10 },
  ),
  refusals: fc.array(fc.boolean(), { maxLength: 3 }),
})
type Plan = typeof plan extends fc.Arbitrary<infer T> ? T : never

function play({ saboteurs, lastStep, backoff, records, refusals }: Plan) {
  const { clock, broker, runTo } = virtualBroker()
  const client = createClient({
    ...{ driver: broker.driver(), group: 'billing', retryTopic: 'retry', dlqTopic: 'dlq', logger: false, env: {} },
    stallAfter: 2 ** 31 - 1,
  })
  const errors: RxMikaError[] = []
  const discarded: string[] = []
  client.events.subscribe(event => {
    if (event.type === 'discarded') discarded.push(`${event.topic}@${event.offset}`)
  })
  const [first, second, third] = saboteurs.map(each => sabotage(each, clock)) as [
    MonoTypeOperatorFunction<Either>,
    MonoTypeOperatorFunction<Either>,
    MonoTypeOperatorFunction<Either>,
  ]
  let calls = 0
  const again = retryTopic(client, {
    retries: 1,
    backoff: () => {
      // The first call is the check when the step is made.
      if (calls++ > 0 && backoff === 'throws') throw new Error('a bug in the backoff')
      return calls === 1 ? 0 : (backoff as number)
    },
  })
  const last =
    lastStep === 'deadLetter'
      ? deadLetter(client)
      : lastStep === 'discard'
        ? discard()
        : (source: Observable<Either>) => source
  const onFail = (failures: Observable<Failed>) => third(last(second(again(first(failures)))))
  const answers: unknown[] = []
  try {
    client.topic('orders', { onFail: onFail as OperatorFunction<Failed, Completed> }).subscribe(record => {
      const { reason, retry, at } = records[Number(record.value)]!
      const fail = () => {
        try {
          answers.push(record.fail(anyReasons[reason]!(), { retry }))
        } catch (error) {
          answers.push(error)
        }
      }
      if (at === 0) fail()
      else clock.schedule(fail, at)
    })
  } catch (error) {
    return { refused: error as Error }
  }
  client.start().subscribe(error => errors.push(error))
  broker.publish(
    'orders',
    records.map((_, at) => ({ value: String(at) })),
  )
  for (const retriable of refusals) broker.failNext('produce', new PublishError('no', { retriable }))
  // Beyond the longest delay that a backoff can give.
  runTo(2 ** 31 + 10_000)
  const stalls = client.stalls()
  let report: CloseReport | undefined
  client
    .closeGracefully({ timeout: 1_000 })
    .then(closed => {
      report = closed
    })
    .catch(error => errors.push(error))
  runTo(2 ** 31 + 20_000)
  return { broker, errors, answers, discarded, stalls, report: () => report }
}

/** The values of the copies, which name the places of their sources: `orders@3`. */
function sources(copies: readonly StoredRecord[]): string[] {
  return copies.map(({ value }) => String(value))
}

describe('a failure route with steps that throw', () => {
  /** Errors that RxJS rethrows from a timer. */
  const thrownOn: unknown[] = []
  const around = rxjs.onUnhandledError
  beforeEach(() => {
    thrownOn.length = 0
    rxjs.onUnhandledError = error => thrownOn.push(error)
  })
  afterEach(() => {
    rxjs.onUnhandledError = around
  })

  it('is refused when its topic is registered, or loses no record: each is copied, discarded, or held and reported', async () => {
    await fc.assert(
      fc.asyncProperty(plan, async planned => {
        const played = play(planned)
        if (played.refused !== undefined) {
          const [{ kind, window }] = planned.saboteurs.filter(
            ({ kind, window }) => (kind === 'build' || kind === 'no-observable') && window.from === 1,
          ) as [Saboteur]
          expect([kind, window.from]).toEqual([expect.stringMatching(/build|no-observable/), 1])
          expect(played.refused).toMatchObject({
            code: 'RXMIKA_CONFIGURATION',
            message: expect.stringContaining("'orders'"),
          })
          return
        }
        const { broker, errors, answers, discarded, stalls, report } = played
        const count = planned.records.length
        const retries = sources(broker.records('retry'))
        // Every delivery was failed once, and `fail` returned true.
        expect(answers).toEqual(Array.from({ length: count + retries.length }, () => true))
        const held = errors.filter(error => error instanceof UnroutableFailureError)
        const heldAt = new Set(held.map(({ topic, offset }) => `${topic}@${offset}`))
        const copied = (value: string) => retries.includes(value) || sources(broker.records('dlq')).includes(value)
        for (let at = 0; at < count; at++) {
          const ways = [copied(String(at)), discarded.includes(`orders@${at}`), heldAt.has(`orders@${at}`)]
          expect(ways).toContain(true)
        }
        // Records that are not held are completed and committed, and held ones are in stalls() and in the report.
        for (const topic of ['orders', 'retry']) {
          const end = BigInt(topic === 'orders' ? count : retries.length)
          const offsets = held.filter(error => error.topic === topic).map(({ offset }) => offset)
          const position = offsets.reduce((least, offset) => (offset < least ? offset : least), end)
          expect([topic, broker.committed('billing', topic, 0) ?? 0n]).toEqual([topic, position])
          const stall = stalls.find(stall => stall.topic === topic)
          if (offsets.length === 0) expect(stall).toBeUndefined()
          else expect(stall).toMatchObject({ offset: position, why: 'unroutable' })
        }
        expect(held).toHaveLength(heldAt.size)
        await Promise.resolve()
        expect(report()).toMatchObject({ drained: held.length === 0, unsettled: held.length })
      }),
      { numRuns: Number(process.env.RXMIKA_HISTORIES ?? 60) },
    )
    await new Promise(resolve => setTimeout(resolve))
    // The error of a teardown has no subscriber, so RxJS throws it from a timer.
    for (const error of thrownOn) expect(error).toBeInstanceOf(UnsubscriptionError)
  })
})
