import { setTimeout as pause } from 'node:timers/promises'
import {
  type Context,
  context,
  metrics as globalMetrics,
  propagation,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  AggregationTemporality,
  type DataPoint,
  type Histogram,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import * as fc from 'fast-check'
import { bufferCount, filter, firstValueFrom, mergeMap, type Subscription } from 'rxjs'
import { type Client, type ConsumeRecord, createClient, fixed, handle, type PublishRecord } from 'rxmika'
import { type InstrumentOptions, instrument } from 'rxmika/opentelemetry'
import { memoryBroker } from 'rxmika/testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

let spans: InMemorySpanExporter
let tracerProvider: BasicTracerProvider
let meterProvider: MeterProvider
let reader: PeriodicExportingMetricReader
const opened: (Client | Subscription)[] = []

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
})
afterAll(() => {
  context.disable()
})
beforeEach(() => {
  spans = new InMemorySpanExporter()
  tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  meterProvider = new MeterProvider({ readers: [reader] })
})
afterEach(async () => {
  for (const each of opened.splice(0)) {
    if ('unsubscribe' in each) each.unsubscribe()
    else await each.close()
  }
  await meterProvider.shutdown()
})

function world(options: InstrumentOptions = {}, more: Parameters<typeof createClient>[0] = {}) {
  const broker = memoryBroker({ partitions: 1 })
  const client = createClient({
    ...{ driver: broker.driver(), group: 'billing', clientId: 'c1', retryTopic: 'retries', dlqTopic: 'dead' },
    ...{ logger: false, commitInterval: 1 },
    ...more,
  })
  const instrumented = instrument(client, { tracerProvider, meterProvider, ...options })
  opened.push(instrumented, client)
  return { broker, client, instrumented }
}

const finished = () => spans.getFinishedSpans()
const named = (name: string) => finished().filter(span => span.name === name)
const committed = (of: Client, topic: string, offset: bigint) =>
  firstValueFrom(of.events.pipe(filter(e => e.type === 'committed' && e.topic === topic && e.offset === offset)))
const traceOf = (span: ReadableSpan) => span.spanContext().traceId
const idOf = (span: ReadableSpan) => span.spanContext().spanId
const parentOf = (span: ReadableSpan) => span.parentSpanContext?.spanId
const inSpan = <T>(name: string, work: () => T): T => {
  const span = tracerProvider.getTracer('app').startSpan(name)
  try {
    return context.with(trace.setSpan(context.active(), span), work)
  } finally {
    span.end()
  }
}

/** The values of a metric, by its attributes. */
async function measured(
  name: string,
): Promise<{ readonly value: unknown; readonly attributes: Record<string, unknown> }[]> {
  const { resourceMetrics } = await reader.collect()
  const found = resourceMetrics.scopeMetrics
    .flatMap(({ metrics }) => metrics)
    .find(({ descriptor }) => descriptor.name === name)
  return (found?.dataPoints ?? []).map(({ value, attributes }: DataPoint<unknown>) => ({ value, attributes }))
}

describe('spans', () => {
  it('follow the conventions: names, kinds, attributes', async () => {
    const { client } = world()
    client
      .topic('orders')
      .pipe(handle(() => pause(1)))
      .subscribe()
    client.start()
    const done = committed(client, 'orders', 1n)
    await firstValueFrom(client.publish({ topic: 'orders', key: 'k', value: 'v' }))
    await done
    const common = { 'messaging.system': 'kafka', 'messaging.client.id': 'c1', 'messaging.destination.name': 'orders' }
    const record = {
      ...common,
      ...{ 'messaging.destination.partition.id': '0', 'messaging.kafka.offset': 0, 'messaging.kafka.message.key': 'k' },
    }
    const consumer = { ...record, 'messaging.consumer.group.name': 'billing', 'rxmika.attempt': 1 }
    const type = (of: string) => ({ 'messaging.operation.type': of, 'messaging.operation.name': of })
    expect(finished().map(({ name, kind, attributes }) => ({ name, kind, attributes }))).toEqual(
      expect.arrayContaining([
        { name: 'send orders', kind: SpanKind.PRODUCER, attributes: { ...record, ...type('send') } },
        { name: 'receive orders', kind: SpanKind.CLIENT, attributes: { ...consumer, ...type('receive') } },
        { name: 'process orders', kind: SpanKind.CONSUMER, attributes: { ...consumer, ...type('process') } },
        {
          ...{ name: 'settle orders', kind: SpanKind.CLIENT },
          attributes: { ...consumer, ...type('settle'), 'rxmika.settlement': 'ack' },
        },
      ]),
    )
    expect(finished()).toHaveLength(4)
    const [send] = named('send orders')
    const [process] = named('process orders')
    expect(parentOf(process!)).toBe(idOf(send!))
    expect(process!.links.map(link => link.context.spanId)).toEqual([idOf(send!)])
    expect(parentOf(named('settle orders')[0]!)).toBe(idOf(process!))
    expect(new Set(finished().map(traceOf)).size).toBe(1)
  })

  it('form one trace from publish over retries and DLQ to the replay, with the header byte for byte', async () => {
    const { broker, client } = world()
    let isMended = false
    client
      .topic('orders', { retries: 1, dlq: true, backoff: fixed(1) })
      .pipe(handle(() => (isMended ? undefined : Promise.reject(new RangeError('no')))))
      .subscribe()
    client.start()
    const dead = committed(client, 'retries', 1n)
    await inSpan('request', () =>
      firstValueFrom(client.publish({ topic: 'orders', value: 'v', headers: { own: 'x' } })),
    )
    await dead
    isMended = true
    const replayed = committed(client, 'dead', 1n)
    client.replayDlq().subscribe()
    await replayed
    await pause(5)
    expect(new Set(finished().map(traceOf)).size).toBe(1)
    const [send] = named('send orders')
    expect(parentOf(send!)).toBe(idOf(named('request')[0]!))
    for (const name of ['process orders', 'process retries', 'process dead']) {
      expect(named(name).map(parentOf), name).toEqual([idOf(send!)])
    }
    // A copy is sent within the work that failed.
    expect(named('send retries').map(({ kind }) => kind)).toEqual([SpanKind.CLIENT])
    expect(parentOf(named('send retries')[0]!)).toBe(idOf(named('process orders')[0]!))
    expect(parentOf(named('send dead')[0]!)).toBe(idOf(named('process retries')[0]!))
    expect(named('process dead')[0]!.attributes).toMatchObject({
      'rxmika.attempt': 2,
      ...{ 'rxmika.origin.topic': 'orders', 'rxmika.origin.partition.id': '0', 'rxmika.origin.offset': 0 },
    })
    const headers = ['orders', 'retries', 'dead'].map(
      topic => broker.records(topic)[0]!.headers as Record<string, Buffer>,
    )
    const [first] = headers
    expect(String(first!.traceparent)).toBe(`00-${traceOf(send!)}-${idOf(send!)}-01`)
    for (const copy of headers) expect(copy.traceparent).toEqual(first!.traceparent)
    expect(named('process orders')[0]!.status).toEqual({ code: SpanStatusCode.ERROR, message: 'no' })
    expect(named('process orders')[0]!.attributes).toMatchObject({ 'error.type': 'RangeError' })
    expect(named('process orders')[0]!.events.map(({ name }) => name)).toEqual(['exception'])
    expect(named('process dead')[0]!.status.code).toBe(SpanStatusCode.UNSET)
  })

  it("only link, and begin a trace, with parent: 'none'", async () => {
    const { client } = world({ parent: 'none' })
    client
      .topic('orders')
      .pipe(handle(() => {}))
      .subscribe()
    client.start()
    const done = committed(client, 'orders', 1n)
    await firstValueFrom(client.publish({ topic: 'orders', value: 'v' }))
    await done
    const [send] = named('send orders')
    const [process] = named('process orders')
    expect(parentOf(process!)).toBeUndefined()
    expect(traceOf(process!)).not.toBe(traceOf(send!))
    expect(process!.links.map(link => link.context.spanId)).toEqual([idOf(send!)])
    expect(parentOf(named('settle orders')[0]!)).toBe(idOf(process!))
  })

  it('leave an existing context of a record unchanged, in objects and in pairs', async () => {
    const { broker, client } = world()
    const own = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await firstValueFrom(client.publish({ topic: 'a', value: '1', headers: { traceparent: own } }))
    await firstValueFrom(client.publish({ topic: 'a', value: '2', headers: [['traceparent', Buffer.from('not one')]] }))
    await firstValueFrom(client.publish({ topic: 'a', value: '3', headers: [['own', null]] }))
    const [first, second, third] = broker.records('a').map(({ headers }) => headers as Record<string, Buffer | null>)
    expect(String(first!.traceparent)).toBe(own)
    expect(String(second!.traceparent)).toBe('not one')
    expect(Object.keys(third!)).toEqual(['own', 'traceparent'])
    const sends = named('send a')
    expect(sends.map(({ kind }) => kind)).toEqual([SpanKind.CLIENT, SpanKind.CLIENT, SpanKind.PRODUCER])
    expect(sends[0]!.links.map(link => link.context.spanId)).toEqual(['b7ad6b7169203331'])
  })

  it('give each of several records its own context, within one send', async () => {
    const { broker, client } = world()
    await firstValueFrom(
      client.publish([
        { topic: 'a', value: '1' },
        { topic: 'a', value: '2' },
      ]),
    )
    const [send] = named('send a')
    const created = named('create a')
    expect(send!.kind).toBe(SpanKind.CLIENT)
    expect(send!.attributes).toMatchObject({ 'messaging.batch.message_count': 2 })
    expect(created.map(({ kind }) => kind)).toEqual([SpanKind.PRODUCER, SpanKind.PRODUCER])
    expect(created.map(parentOf)).toEqual([idOf(send!), idOf(send!)])
    expect(send!.links.map(link => link.context.spanId)).toEqual(created.map(idOf))
    const carried = broker.records('a').map(({ headers }) => String((headers as Record<string, Buffer>).traceparent))
    expect(carried).toEqual(created.map(span => `00-${traceOf(span)}-${idOf(span)}-01`))
  })

  it('nest: what a handler begins is within its process span, and in no other record’s span', async () => {
    const { client } = world()
    const tracer = tracerProvider.getTracer('app')
    client
      .topic('orders')
      .pipe(
        handle(
          async record => {
            await pause(1)
            tracer.startSpan(`work ${record.value}`).end()
            await firstValueFrom(client.publish({ topic: 'out', key: String(record.value), value: 'x' }))
          },
          { order: 'none' },
        ),
      )
      .subscribe()
    client.start()
    const done = committed(client, 'orders', 3n)
    for (const value of ['a', 'b', 'c']) await firstValueFrom(client.publish({ topic: 'orders', key: value, value }))
    await done
    const key = (span: ReadableSpan) => span.attributes['messaging.kafka.message.key']
    for (const value of ['a', 'b', 'c']) {
      const process = named('process orders').find(span => key(span) === value)!
      const send = named('send out').find(span => key(span) === value)!
      expect([parentOf(named(`work ${value}`)[0]!), parentOf(send)]).toEqual([idOf(process), idOf(process)])
      expect(traceOf(send)).toBe(traceOf(named('send orders').find(span => key(span) === value)!))
    }
  })

  it('exist without handle: what the pipeline begins is within receive, and settle too', async () => {
    const { client } = world()
    const tracer = tracerProvider.getTracer('app')
    client
      .topic('orders', { dlq: true })
      .pipe(
        mergeMap(async record => {
          await pause(1)
          tracer.startSpan('work').end()
          record.fail(new TypeError('bad'))
        }),
      )
      .subscribe()
    client.start()
    const done = committed(client, 'orders', 1n)
    await firstValueFrom(client.publish({ topic: 'orders', value: 'v' }))
    await done
    const [receive] = named('receive orders')
    for (const name of ['work', 'settle orders', 'send dead'])
      expect(parentOf(named(name)[0]!), name).toBe(idOf(receive!))
    expect(named('settle orders')[0]!.attributes).toMatchObject({
      ...{ 'rxmika.settlement': 'fail', 'rxmika.failure.type': 'TypeError' },
    })
  })

  it('have one span for a batch, with a link for each record', async () => {
    const { client } = world()
    client
      .topic('orders')
      .pipe(
        bufferCount(2),
        handle(() => {}, { order: 'none' }),
      )
      .subscribe()
    client.start()
    const done = committed(client, 'orders', 2n)
    await firstValueFrom(client.publish({ topic: 'orders', value: '1' }))
    await firstValueFrom(client.publish({ topic: 'orders', value: '2' }))
    await done
    const [process] = named('process orders')
    expect(named('process orders')).toHaveLength(1)
    expect(process!.attributes).toMatchObject({ 'messaging.batch.message_count': 2 })
    expect(parentOf(process!)).toBeUndefined()
    expect(process!.links.map(link => link.context.spanId)).toEqual(named('send orders').map(idOf))
    expect(process!.links.map(link => link.attributes!['messaging.kafka.offset'])).toEqual([0, 1])
  })

  it('carry baggage to the handler if a propagator supports it', async () => {
    const propagator = new CompositePropagator({
      propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
    })
    const { client } = world({ propagator })
    const seen: unknown[] = []
    client
      .topic('orders')
      .pipe(handle(() => void seen.push(propagation.getBaggage(context.active())?.getEntry('tenant')?.value)))
      .subscribe()
    client.start()
    const done = committed(client, 'orders', 1n)
    const baggage: Context = propagation.setBaggage(
      context.active(),
      propagation.createBaggage({ tenant: { value: 't1' } }),
    )
    await context.with(baggage, () => firstValueFrom(client.publish({ topic: 'orders', value: 'v' })))
    await done
    expect(seen).toEqual(['t1'])
  })

  it('belong only to the instrumented client, until it is unsubscribed', async () => {
    const { broker, client, instrumented } = world()
    const other = createClient({ driver: broker.driver(), logger: false })
    opened.push(other)
    await firstValueFrom(other.publish({ topic: 'a', value: '1' }))
    expect(finished()).toEqual([])
    expect(broker.records('a')[0]!.headers).toEqual({})
    instrumented.unsubscribe()
    await firstValueFrom(client.publish({ topic: 'a', value: '1' }))
    expect(finished()).toEqual([])
  })

  it('use globally registered providers, even if registered later', async () => {
    const broker = memoryBroker()
    const client = createClient({ driver: broker.driver(), logger: false })
    opened.push(client, instrument(client))
    trace.setGlobalTracerProvider(tracerProvider)
    try {
      await firstValueFrom(client.publish({ topic: 'a', value: '1' }))
      expect(named('send a')).toHaveLength(1)
      expect((broker.records('a')[0]!.headers as Record<string, Buffer>).traceparent).toBeDefined()
    } finally {
      trace.disable()
      globalMetrics.disable()
    }
  })

  it('refuse unknown options', () => {
    const client = createClient({ driver: memoryBroker().driver(), logger: false })
    opened.push(client)
    expect(() => instrument(client, { parent: 'both' as never })).toThrow(/parent must be 'message' or 'none'/)
    expect(() => instrument(client, { tracer: tracerProvider } as never)).toThrow(/tracerProvider/)
    expect(() => instrument({} as never)).toThrow(/createClient/)
  })

  it('change nothing of a record but its context headers, whatever the record is', async () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 8 })
    const name = fc.oneof(text, fc.constantFrom('__proto__', 'constructor', 'tracestate', 'toString'))
    const content = fc.oneof(text, fc.constant(null))
    const headers = fc.oneof(
      fc.dictionary(name, fc.oneof(content, fc.array(content, { minLength: 1, maxLength: 3 })), {
        noNullPrototype: false,
      }),
      fc.array(fc.tuple(name, fc.constant(Buffer.from([0, 255]))), { maxLength: 4 }),
      fc.constant(undefined),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ key: content, value: content, headers }), { minLength: 1, maxLength: 3 }),
        async records => {
          const all = records.map(record => ({ topic: 'a', ...record })) as PublishRecord[]
          const [plain, traced] = [memoryBroker({ partitions: 1 }), memoryBroker({ partitions: 1 })]
          const pairs: (readonly [string, unknown])[][][] = []
          for (const [broker, isTraced] of [
            [plain, false],
            [traced, true],
          ] as const) {
            const client = createClient({ driver: broker.driver(), group: 'g', logger: false })
            const instrumented = isTraced ? instrument(client, { tracerProvider, meterProvider }) : undefined
            const seen: ConsumeRecord[] = []
            client.topic('a').subscribe(record => seen.push(record))
            await firstValueFrom(client.publish(all))
            client.start()
            while (seen.length < all.length) await pause(0)
            pairs.push(
              seen.map(record => [
                ['', record.key] as const,
                ['', record.value] as const,
                ...Object.entries(record.headers).filter(([name]) => name !== 'traceparent'),
              ]),
            )
            if (isTraced) for (const record of seen) expect(record.header('traceparent')).toBeInstanceOf(Buffer)
            instrumented?.unsubscribe()
            await client.close()
          }
          const [without, within] = pairs
          expect(within).toEqual(without)
        },
      ),
      { numRuns: 40 },
    )
  })
})

describe('metrics', () => {
  it('follow the conventions', async () => {
    const { client } = world()
    client
      .topic('orders', { retries: 1, backoff: fixed(60_000), dlq: true })
      .pipe(handle(record => (String(record.value) === 'bad' ? Promise.reject(new RangeError('no')) : undefined)))
      .subscribe()
    client.start()
    const done = committed(client, 'orders', 2n)
    await firstValueFrom(
      client.publish([
        { topic: 'orders', value: 'good' },
        { topic: 'orders', value: 'bad' },
      ]),
    )
    await done
    while (client.metrics().partitions.find(({ topic }) => topic === 'retries')?.delayed !== 1) await pause(1)
    const base = { 'messaging.system': 'kafka' }
    const type = (of: string) => ({ 'messaging.operation.type': of, 'messaging.operation.name': of })
    const to = (topic: string) => ({ 'messaging.destination.name': topic })
    const group = { 'messaging.consumer.group.name': 'billing' }
    expect(await measured('messaging.client.sent.messages')).toEqual([
      { value: 2, attributes: { ...base, ...type('send'), ...to('orders') } },
      { value: 1, attributes: { ...base, ...type('send'), ...to('retries') } },
    ])
    // The retry is not due, and so it is not consumed.
    expect(await measured('messaging.client.consumed.messages')).toEqual([
      {
        value: 2,
        attributes: {
          ...base,
          ...type('receive'),
          ...to('orders'),
          ...group,
          'messaging.destination.partition.id': '0',
        },
      },
    ])
    const processed = await measured('messaging.process.duration')
    expect(processed.map(({ attributes, value }) => [attributes, (value as Histogram).count])).toEqual([
      [{ ...base, ...type('process'), ...to('orders'), ...group }, 1],
      [{ ...base, ...type('process'), ...to('orders'), ...group, 'error.type': 'RangeError' }, 1],
    ])
    expect((processed[0]!.value as Histogram).buckets.boundaries).toEqual([
      ...[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
    ])
    const operations = (await measured('messaging.client.operation.duration')).map(
      ({ attributes }) => attributes['messaging.operation.name'],
    )
    expect(new Set(operations)).toEqual(new Set(['send', 'receive', 'settle', 'commit']))
    expect((await measured('rxmika.rebalance.duration')).map(({ value }) => (value as Histogram).count)).toEqual([1])
  })

  it('include the library’s own: lag, records in flight, and stalls with their reason', async () => {
    const { broker, client } = world({}, { stallAfter: 5 })
    client
      .topic('orders', { retries: 1, backoff: fixed(60_000), dlq: true })
      .pipe(
        handle(
          (record, { signal }) =>
            String(record.value) === 'hangs'
              ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
              : String(record.value) === 'dies'
                ? void record.fail(new TypeError('dead'), { retry: false })
                : String(record.value) === 'bad'
                  ? Promise.reject(new Error('no'))
                  : undefined,
          { order: 'none' },
        ),
      )
      .subscribe()
    broker.publish(
      'orders',
      ['good', 'hangs', 'bad', 'good', 'dies'].map(value => ({ value })),
    )
    const stalled = firstValueFrom(client.events.pipe(filter(e => e.type === 'stalled' && e.topic === 'orders')))
    client.start()
    await stalled
    while (client.metrics().partitions.find(({ topic }) => topic === 'retries')?.delayed !== 1) await pause(1)
    while (client.metrics().partitions.find(({ topic }) => topic === 'orders')!.finishedBehind < 3) await pause(1)
    await firstValueFrom(client.events.pipe(filter(e => e.type === 'committed'))).catch(() => {})
    const orders = { 'messaging.destination.name': 'orders', 'messaging.destination.partition.id': '0' }
    const of = async (name: string, attributes: object) =>
      (await measured(name)).find(point => JSON.stringify(point.attributes) === JSON.stringify(attributes))?.value
    expect(await of('rxmika.partition.lag', orders)).toBe(4)
    expect(await of('rxmika.partition.unfinished', orders)).toBe(1)
    expect(await of('rxmika.partition.in_flight', orders)).toBe(1)
    expect(await of('rxmika.partition.oldest_unsettled', orders)).toBeGreaterThan(0)
    expect(await of('rxmika.partition.delayed', { ...orders, 'messaging.destination.name': 'retries' })).toBe(1)
    expect(await of('rxmika.stalls', { 'rxmika.stall.reason': 'unsettled' })).toBe(1)
    expect(await of('rxmika.stalls', { 'rxmika.stall.reason': 'paused' })).toBe(0)
    expect(await measured('rxmika.dead_letters')).toEqual([
      { value: 1, attributes: { 'messaging.destination.name': 'orders', 'error.type': 'TypeError' } },
    ])
    expect(await of('rxmika.records', { 'messaging.destination.name': 'orders', 'rxmika.outcome': 'retried' })).toBe(1)
    expect(await of('rxmika.ready', {})).toBe(1)
    expect(await of('rxmika.rebalances', {})).toBe(1)
  })
})
