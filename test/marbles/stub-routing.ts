import { defaultIfEmpty, NEVER, type Observable, of, take, takeWhile } from 'rxjs'
import { TestScheduler } from 'rxjs/testing'
import { expect } from 'vitest'
import { clockOf } from '../../src/clock.js'
import { type FloodError, PublishError, type RxMikaError } from '../../src/errors.js'
import type { ClientEvent } from '../../src/events.js'
import { type Completed, Failed, isCompleted } from '../../src/failure.js'
import type { PublishRecord, RecordMetadata } from '../../src/publish.js'
import { deliveryOf, type Origin } from '../../src/record.js'
import type { HeaderPair } from '../../src/record-batch.js'
import { type CopyObserver, type Routing, type RoutingClient, routing, routingContract } from '../../src/routing.js'
import { FakeOwner, fakeRecord } from './fake-record.js'

export interface StubOptions {
  readonly group?: string | undefined
  readonly retryTopic?: string | undefined
  readonly dlqTopic?: string | undefined
  readonly scheduler?: TestScheduler
  /** The result of writing a copy. Defaults to an immediate acknowledgement. */
  readonly publish?: (copy: PublishRecord, failed: Failed) => Observable<RecordMetadata>
  /** Emits when a topic that a breaker paused is resumed. Defaults to never. */
  readonly resumed?: Observable<void>
}

/** A stub of the client for failure steps. It records their calls in order. */
export class StubClient implements RoutingClient {
  readonly copies: PublishRecord[] = []
  /** The subscribers that wait for copies, in the order of `copies`. */
  readonly waiting: CopyObserver[] = []
  readonly redeliveries: { readonly name: string; readonly delay: number }[] = []
  readonly unroutable: { readonly name: string; readonly cause: unknown }[] = []
  readonly halts: RxMikaError[] = []
  readonly floods: FloodError[] = []
  /** The failures that steps hold, in order. */
  readonly held: string[] = []
  /** Failures whose assignment has ended when they are released. */
  readonly lost = new Set<string>()
  /** Records that must not leave their partition, because of a key fence. */
  readonly fenced = new Set<string>()
  readonly events: ClientEvent[] = []
  onEvent: (event: ClientEvent) => void = () => {}
  readonly [routing]: Routing

  constructor(options: StubOptions = {}) {
    const { publish = () => of(place), resumed = NEVER } = options
    this[routing] = {
      contract: routingContract,
      group: 'group' in options ? options.group : 'billing',
      retryTopic: 'retryTopic' in options ? options.retryTopic : 'billing-retry-dev',
      dlqTopic: 'dlqTopic' in options ? options.dlqTopic : 'billing-dlq-dev',
      clock: clockOf({ scheduler: options.scheduler ?? { now: () => 5_000, schedule: () => assertNever() } }),
      building: undefined,
      fullName: topic => `${topic}-dev`,
      publishCopy: (topic, failed, observer) => {
        const copy = observer.copy()
        this.copies.push(copy)
        this.waiting.push(observer)
        publish(copy, failed)
          .pipe(
            take(1),
            defaultIfEmpty(undefined),
            takeWhile(() => observer.wanted),
          )
          .subscribe({
            next: place => observer.settle(place && { ok: true, ...place }),
            error: error => {
              if (observer.concede(error)) this[routing].publishCopy(topic, failed, observer)
              else observer.settle({ ok: false, error })
            },
          })
      },
      observed: true,
      keepsItsPlace: failed => this.fenced.has(nameOf(failed)),
      fenceIsFull: () => undefined,
      redeliver: (failed, delay) => this.redeliveries.push({ name: nameOf(failed), delay }),
      unroutable: (failed, cause) => this.unroutable.push({ name: nameOf(failed), cause }),
      hold: failed => this.held.push(nameOf(failed)),
      release: failed => {
        this.held.splice(this.held.indexOf(nameOf(failed)), 1)
        return !this.lost.has(nameOf(failed))
      },
      trip: error => {
        this.floods.push(error)
        return resumed
      },
      halt: error => this.halts.push(error),
      event: event => {
        this.events.push(event)
        this.onEvent(event)
      },
    }
  }

  /** The value of one of the group's own headers in a copy, as text. */
  header(copy: number, name: string): string | undefined {
    const pairs = this.copies[copy]!.headers as readonly HeaderPair[]
    return pairs.find(pair => pair[0] === `mika_err_billing_${name}`)?.[1]?.toString()
  }
}

export const place: RecordMetadata = { topic: 'billing-retry-dev', partition: 0, offset: 7n }
export const refused = new PublishError('too large', { retriable: false })

/** A failed record whose key is its name. */
export function failure(
  name: string,
  options: {
    readonly reason?: unknown
    readonly retryable?: boolean
    readonly retries?: number
    readonly redeliveries?: number
    readonly headers?: readonly HeaderPair[]
  } = {},
): Failed {
  const { retryable = true, retries = 0, redeliveries = 0 } = options
  const reason = 'reason' in options ? options.reason : new Error(`${name} failed`)
  const copied = retries > 0
  const origin: Origin = { kind: 'retry', topic: 'orders', partition: 3, offset: 42, timestamp: 1_000, retries }
  const headers: HeaderPair[] = [...(options.headers ?? [])]
  if (copied) {
    for (const [field, value] of Object.entries({ org_topic: 'orders-dev', retries })) {
      headers.push([`mika_err_billing_${field}`, Buffer.from(String(value))])
    }
  }
  const record = fakeRecord({
    owner: new FakeOwner(copied ? 'billing-retry' : 'orders'),
    key: name,
    value: `value of ${name}`,
    origin: copied ? origin : undefined,
    ...{ redeliveries, headers },
  })
  return new Failed(record, reason, record.attempt, retryable)
}

export function nameOf({ record }: { readonly record: unknown }): string {
  return String(deliveryOf(record)!.key)
}

/** The emissions of a step as text: `a retried`, or `a failed` for a failure that passed on. */
export function inWords(value: Failed | Completed): string {
  return `${nameOf(value)} ${isCompleted(value) ? value.disposition : 'failed'}`
}

export function testScheduler(): TestScheduler {
  return new TestScheduler((actual, expected) => expect(actual).toEqual(expected))
}

function assertNever(): never {
  throw new Error('nothing is scheduled here')
}
