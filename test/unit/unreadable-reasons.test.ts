import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { pino } from 'pino'
import { bufferCount, filter, firstValueFrom, type OperatorFunction, pipe, take, tap, throwError, toArray } from 'rxjs'
import {
  BatchFailure,
  type ConsumeRecord,
  createClient,
  decode,
  fork,
  halt,
  handle,
  json,
  keep,
  latest,
  type StandardSchema,
} from 'rxmika'
import { instrument } from 'rxmika/opentelemetry'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { anyReasons } from '../properties/any-reason'

// User code may throw anything: a proxy, an object whose getters throw. Only the record fails, wherever the throw happens.
// A throw into the library would be an uncaught exception, which fails every test.

type Way = OperatorFunction<ConsumeRecord, unknown>
type Thrown = (record: ConsumeRecord) => unknown

/** A schema whose result the test decides. */
function schema(validate: () => never): StandardSchema<unknown> {
  return { '~standard': { version: 1, validate } }
}

const ways: Record<string, (thrown: Thrown) => Way> = {
  'a handler that throws': thrown =>
    handle(record => {
      throw thrown(record)
    }),
  'a handler that rejects': thrown => handle(record => Promise.reject(thrown(record))),
  'a handler whose Observable errors': thrown => handle(record => throwError(() => thrown(record))),
  'a handler of arrays': thrown =>
    pipe(
      bufferCount(1),
      handle(([record]) => {
        throw thrown(record!)
      }),
    ),
  'a handler of arrays, one by one': thrown =>
    pipe(
      bufferCount(2),
      handle(([record]) => Promise.reject(thrown(record!)), { onBatchFailure: 'one-by-one' }),
    ),
  'a part of a batch': thrown =>
    pipe(
      bufferCount(2),
      handle(batch => {
        throw BatchFailure.of(...batch.map(record => [record, thrown(record)] as const))
      }),
    ),
  'record.fail': thrown => tap(record => record.fail(thrown(record))),
  'both branches of a fork': thrown =>
    fork(
      handle(record => Promise.reject(thrown(record))),
      tap((record: ConsumeRecord) => record.fail(thrown(record))),
    ),
  'the predicate of keep': thrown =>
    keep(record => {
      throw thrown(record)
    }),
  'by of latest': thrown =>
    latest(1, {
      by: record => {
        throw thrown(record)
      },
    }),
  'a decoder that throws': thrown =>
    decode((_, record) => {
      throw thrown(record)
    }),
  'a decoder that rejects': thrown => decode((_, record) => Promise.reject(thrown(record))),
  'a schema': thrown => {
    let next: unknown
    const validating = decode(
      json(
        schema(() => {
          throw next
        }),
      ),
    )
    return pipe(
      tap((record: ConsumeRecord) => {
        next = thrown(record)
      }),
      validating,
    )
  },
}

const readers = { 'by nobody': undefined, 'by OpenTelemetry': instrument }

describe.each(Object.entries(readers))(
  'a record that failed with an unreadable reason, and is observed %s',
  (_, watch) => {
    it.each(Object.entries(ways))('is dead-lettered: %s', async (_name, way) => {
      const broker = memoryBroker()
      const logger = pino({ level: 'trace' }, { write() {} })
      const client = createClient({ driver: broker.driver(), group: 'billing', dlqTopic: 'dlq', env: {}, logger })
      const tracerProvider = new BasicTracerProvider({
        spanProcessors: [new SimpleSpanProcessor(new InMemorySpanExporter())],
      })
      const instrumented = watch?.(client, { tracerProvider })
      onTestFinished(() => instrumented?.unsubscribe())
      const dead = firstValueFrom(
        broker.written.pipe(
          filter(({ topic }) => topic === 'dlq'),
          take(anyReasons.length),
          toArray(),
        ),
      )
      broker.publish(
        'orders',
        anyReasons.map((_reason, at) => ({ value: String(at) })),
      )
      client
        .topic('orders', { dlq: true })
        .pipe(way(({ offset }) => anyReasons[Number(offset)]!()))
        .subscribe()
      client.start()
      expect((await dead).map(({ value }) => Number(value)).sort((a, b) => a - b)).toEqual([...anyReasons.keys()])
      expect(await client.closeGracefully()).toMatchObject({ drained: true })
    })
  },
)

describe('a client that is halted by it', () => {
  const loggers = {
    'a logger that reads errors': pino({ level: 'trace' }, { write() {} }),
    'a logger without a destination': pino(
      { level: 'trace' },
      {
        write() {
          throw new Error('the destination is destroyed')
        },
      },
    ),
  }
  it.each(Object.entries(loggers))('closes, with %s', async (_, logger) => {
    for (const reason of anyReasons) {
      const broker = memoryBroker()
      const client = createClient({ driver: broker.driver(), group: 'billing', env: {}, logger })
      broker.publish('orders', { value: 'a' })
      client
        .topic('orders', { onFail: halt(client) })
        .pipe(tap(record => record.fail(reason())))
        .subscribe({ error: () => {} })
      client.start()
      const { drained, error } = await client.closed
      expect([drained, error?.message]).toEqual([false, expect.stringContaining('halted: the record at orders-0@0')])
    }
  })
})
