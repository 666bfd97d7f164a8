import { bufferTime, EMPTY, filter, from, map, mergeMap, type Observable, type OperatorFunction, of, pipe } from 'rxjs'
import { expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import type { Client, ClientOptions, RecordStream } from '../../src/client/client.js'
import { type Decoder, decode } from '../../src/operators/decode.js'
import { fork } from '../../src/operators/fork/fork.js'
import { BatchFailure } from '../../src/operators/handle/batch-failure.js'
import { handle, type Outcome } from '../../src/operators/handle/handle.js'
import { json } from '../../src/operators/json.js'
import { keep } from '../../src/operators/keep.js'
import { latest } from '../../src/operators/latest.js'
import type { ConsumeRecord } from '../../src/record.js'

interface Order {
  readonly id: string
}

const records: Observable<ConsumeRecord> = EMPTY
const schema = z.object({ id: z.string(), cents: z.string().transform(Number) })

it('types an outcome by the result of the handler', () => {
  expectTypeOf(records.pipe(handle(() => 1))).toEqualTypeOf<Observable<Outcome<ConsumeRecord, number>>>()
  expectTypeOf(records.pipe(handle(async () => 'x'))).toEqualTypeOf<Observable<Outcome<ConsumeRecord, string>>>()
  expectTypeOf(records.pipe(handle(() => of(true)))).toEqualTypeOf<
    Observable<Outcome<ConsumeRecord, boolean | undefined>>
  >()
  expectTypeOf(records.pipe(handle(async () => of(true)))).toEqualTypeOf<
    Observable<Outcome<ConsumeRecord, boolean | undefined>>
  >()
  expectTypeOf(records.pipe(handle(async () => {}))).toEqualTypeOf<Observable<Outcome<ConsumeRecord, void>>>()
  expectTypeOf(
    records.pipe(
      handle(async function* () {
        yield 1
      }),
    ),
  ).toEqualTypeOf<Observable<Outcome<ConsumeRecord, number | undefined>>>()
})

it('gives the handler the record with its value', () => {
  records.pipe(handle(record => expectTypeOf(record).toEqualTypeOf<ConsumeRecord>()))
  records.pipe(
    decode(json<Order>()),
    handle(({ value }) => expectTypeOf(value).toEqualTypeOf<Order | null>(), { order: 'key' }),
  )
})

it('accepts arrays, and has an outcome for each record', () => {
  const outcomes = records.pipe(
    decode(json<Order>()),
    bufferTime(50, null, 500),
    filter(batch => batch.length > 0),
    handle(async batch => {
      expectTypeOf(batch).toEqualTypeOf<ConsumeRecord<Order | null>[]>()
      return batch.length
    }),
  )
  expectTypeOf(outcomes).toEqualTypeOf<Observable<Outcome<ConsumeRecord<Order | null>, number>>>()
})

it('distinguishes the two outcomes by their status', () => {
  records.pipe(handle(async () => 'x')).subscribe(outcome => {
    if (outcome.status === 'acked') expectTypeOf(outcome.value).toEqualTypeOf<string>()
    else expectTypeOf(outcome.reason).toEqualTypeOf<unknown>()
    // @ts-expect-error only where it is known which
    void outcome.value
  })
})

it('accepts only records', () => {
  // @ts-expect-error a number cannot be settled
  void (() => of(1).pipe(handle(() => 1)))
  // @ts-expect-error there is no such order
  void (() => handle(() => 1, { order: 'topic' }))
})

it('types decoded records by their decoder, with null for tombstones', () => {
  type Decoded<T> = OperatorFunction<ConsumeRecord, ConsumeRecord<T | null>>
  expectTypeOf(decode(json<Order>())).toEqualTypeOf<Decoded<Order>>()
  expectTypeOf(decode((bytes: Buffer) => bytes.length)).toEqualTypeOf<Decoded<number>>()
  expectTypeOf(decode(async (bytes: Buffer) => bytes.length)).toEqualTypeOf<Decoded<number>>()
  expectTypeOf(decode(bytes => bytes.toString())).toEqualTypeOf<Decoded<string>>()
  expectTypeOf(decode(json(schema))).toEqualTypeOf<Decoded<{ id: string; cents: number }>>()
  expectTypeOf(decode(schema)).toEqualTypeOf<Decoded<{ id: string; cents: number }>>()
})

it('infers the value of a decoder that is an option', () => {
  const topic = <T>(_: { readonly decode: Decoder<T> }): ConsumeRecord<T | null>[] => []
  expectTypeOf(topic({ decode: schema })).items.toEqualTypeOf<ConsumeRecord<{ id: string; cents: number } | null>>()
  expectTypeOf(topic({ decode: json<Order>() })).items.toEqualTypeOf<ConsumeRecord<Order | null>>()
  expectTypeOf(topic({ decode: async bytes => bytes.length })).items.toEqualTypeOf<ConsumeRecord<number | null>>()
})

it('decodes bytes, once', () => {
  // @ts-expect-error the value is no longer bytes
  void (() => records.pipe(decode(json<Order>()), decode(json<Order>())))
})

it('types the branches of a fork by its source, and its emissions by its branches', () => {
  const outcomes = records.pipe(
    decode(json<Order>()),
    fork(
      handle(record => {
        expectTypeOf(record).toEqualTypeOf<ConsumeRecord<Order | null>>()
        return 1
      }),
      pipe(
        keep(({ value }) => value !== null),
        handle(async ({ value }) => value?.id),
      ),
      source => source.pipe(map(({ value }) => value)),
    ),
  )
  expectTypeOf(outcomes).toEqualTypeOf<
    Observable<
      | Outcome<ConsumeRecord<Order | null>, number>
      | Outcome<ConsumeRecord<Order | null>, string | undefined>
      | (Order | null)
    >
  >()
  // @ts-expect-error a fork has at least one branch
  void (() => records.pipe(fork()))
  // @ts-expect-error a branch takes what the source gives
  void (() => records.pipe(fork(decode(json<Order>()), source => of(1).pipe(handle(() => source)))))
  // @ts-expect-error only records are settled together
  void (() => of(1).pipe(fork(map(one => one))))
})

it('narrows the type by a type guard', () => {
  const has = <T>(record: ConsumeRecord<T | null>): record is ConsumeRecord<T> => record.value !== null
  const kept = records.pipe(decode(json<Order>()), keep(has<Order>))
  expectTypeOf(kept).toEqualTypeOf<Observable<ConsumeRecord<Order>>>()
  expectTypeOf(records.pipe(keep(({ key }) => key !== null))).toEqualTypeOf<Observable<ConsumeRecord>>()
  // @ts-expect-error a promise is always true
  void (() => records.pipe(keep(async () => false)))
  // @ts-expect-error only records are acked
  void (() => of(1).pipe(keep(() => true)))
})

it('keeps the type of latest records', () => {
  const one = records.pipe(decode(json<Order>()), latest(500, { by: ({ value }) => value?.id }))
  expectTypeOf(one).toEqualTypeOf<Observable<ConsumeRecord<Order | null>>>()
  // @ts-expect-error only records are acked
  void (() => of(1).pipe(latest(500)))
})

it('passes the handler a signal, and accepts an Observable of concurrency', () => {
  records.pipe(
    handle((record, { signal }) => {
      expectTypeOf(record).toEqualTypeOf<ConsumeRecord>()
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
    }),
  )
  handle((_: ConsumeRecord) => 1, { concurrency: of(1, 2) })
  // @ts-expect-error a limit is a number
  void (() => handle((_: ConsumeRecord) => 1, { concurrency: of('2') }))
  // @ts-expect-error there is no such choice
  void (() => handle((_: ConsumeRecord[]) => 1, { onBatchFailure: 'retry' }))
})

it('creates a batch failure from at least one pair of a record and a reason', () => {
  records.pipe(
    bufferTime(50),
    handle(([first]) => {
      throw BatchFailure.of([first!, new Error('refused')])
    }),
  )
  // @ts-expect-error no reason
  void (() => records.pipe(handle(record => BatchFailure.of([record]))))
})

it('has no null if tombstones are not delivered', () => {
  expectTypeOf(records.pipe(decode(json<Order>(), { tombstones: 'ack' }))).toEqualTypeOf<
    Observable<ConsumeRecord<Order>>
  >()
  expectTypeOf(records.pipe(decode(schema, { tombstones: 'fail' }))).toEqualTypeOf<
    Observable<ConsumeRecord<{ id: string; cents: number }>>
  >()
  expectTypeOf(records.pipe(decode(json<Order>(), { tombstones: 'pass' }))).toEqualTypeOf<
    Observable<ConsumeRecord<Order | null>>
  >()
  const client = {} as Client
  const topic = () => client.topic('orders', { decode: json<Order>(), tombstones: 'ack' })
  expectTypeOf(topic).returns.toEqualTypeOf<RecordStream<Order>>()
  const withNull = () => client.topic('orders', { decode: json<Order>(), retries: 1 })
  expectTypeOf(withNull).returns.toEqualTypeOf<RecordStream<Order | null>>()
  // @ts-expect-error nothing is decoded
  void (() => client.topic('orders', { tombstones: 'ack' }))
})

it('types the parameters of a decoder among other options', () => {
  const client = {} as Client
  const topic = () => client.topic('orders', { retries: 1, decode: (bytes, { attempt }) => bytes.length + attempt })
  expectTypeOf(topic).returns.toEqualTypeOf<RecordStream<number | null>>()
  const acked = () => client.topic('orders', { dlq: true, tombstones: 'ack', decode: async bytes => bytes.toString() })
  expectTypeOf(acked).returns.toEqualTypeOf<RecordStream<string>>()
})

it("types the records of a loop over a topic by the topic's decoder", () => {
  const client = {} as Client
  void (async () => {
    for await (const record of client.topic('orders')) expectTypeOf(record).toEqualTypeOf<ConsumeRecord>()
    for await (const record of client.topic('orders', { decode: schema })) {
      expectTypeOf(record).toEqualTypeOf<ConsumeRecord<{ id: string; cents: number } | null>>()
    }
    for await (const record of client.topic('orders', { decode: json<Order>(), tombstones: 'fail' })) {
      expectTypeOf(record).toEqualTypeOf<ConsumeRecord<Order>>()
    }
    // @ts-expect-error what operators make of a topic is an Observable alone
    for await (const record of client.topic('orders').pipe(map(String))) void record
    // @ts-expect-error one record at a time is taken, and awaited
    for (const record of client.topic('orders')) void record
  })
  // The type is the one that RxJS's operators take.
  expectTypeOf(of(1).pipe(mergeMap(() => client.topic('orders')))).toEqualTypeOf<Observable<ConsumeRecord>>()
  const observed = () => from(client.topic('orders', { decode: schema }))
  expectTypeOf(observed).returns.toEqualTypeOf<Observable<ConsumeRecord<{ id: string; cents: number } | null>>>()
})

it('refuses invalid operators and options', () => {
  const client = {} as Client
  // @ts-expect-error a time is a number of ms
  void (() => records.pipe(latest('500ms')))
  // @ts-expect-error the grouping key must be a function
  void (() => records.pipe(latest(500, { by: 'key' })))
  // @ts-expect-error there is no such choice
  void (() => records.pipe(decode(json<Order>(), { tombstones: 'skip' })))
  // @ts-expect-error a predicate tells by a boolean
  void (() => records.pipe(keep(({ value }) => value)))
  // @ts-expect-error a branch is an operator, and no function of a record
  void (() => records.pipe(fork((record: ConsumeRecord) => record.ack())))
  // @ts-expect-error a batch is named with its reasons in pairs
  void (() => BatchFailure.of({} as ConsumeRecord, new Error('no')))
  // @ts-expect-error there is no such choice
  void (() => client.replayDlq({ attempts: 'reset' }))
  // @ts-expect-error a rate is a number of records a second
  void (() => client.replayDlq({ rate: '5/s' }))
  // @ts-expect-error there is no such choice
  const dropping: ClientOptions = { leaks: 'drop' }
  void dropping
})
