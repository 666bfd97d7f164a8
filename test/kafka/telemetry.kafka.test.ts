import { createRequire } from 'node:module'
import { context, metrics, propagation, SpanKind, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { KafkaJsInstrumentation } from '@opentelemetry/instrumentation-kafkajs'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { firstValueFrom, lastValueFrom } from 'rxjs'
import { ConnectionError, fixed, handle } from 'rxmika'
import { instrument } from 'rxmika/opentelemetry'
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, scenarios } from '../contract/world'
import { describeKafka, describeOwnKafka, kafkaBrokers } from './describe-kafka'
import { ownKafka } from './own-kafka'

const traceOf = (span: ReadableSpan) => span.spanContext().traceId
const idOf = (span: ReadableSpan) => span.spanContext().spanId

describeKafka('a client that is instrumented', () => {
  const backend = kafkaBackend(() => kafkaBrokers)
  const scenario = scenarios(backend)
  let exporter: InMemorySpanExporter
  let tracerProvider: BasicTracerProvider
  beforeAll(() => backend.open())
  afterAll(() => backend.close())
  beforeEach(() => {
    exporter = new InMemorySpanExporter()
    tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    propagation.setGlobalPropagator(new W3CTraceContextPropagator())
    trace.setGlobalTracerProvider(tracerProvider)
  })
  afterEach(() => {
    for (const api of [context, propagation, trace, metrics]) api.disable()
  })

  scenario(
    'has one trace from the first publish to the replayed dead letter, with headers byte for byte',
    async world => {
      const topic = await world.topic('orders')
      const [retryTopic, dlqTopic] = [await world.topic('retries'), await world.topic('dead')]
      const run = world.client({ group: world.name('group'), retryTopic, dlqTopic })
      const instrumented = instrument(run.client)
      let isMended = false
      run.client
        .topic(topic, { retries: 1, dlq: true, backoff: fixed(50) })
        .pipe(handle(async () => (isMended ? undefined : Promise.reject(new RangeError('no')))))
        .subscribe()
      await run.start()
      await firstValueFrom(run.client.publish({ topic, key: 'k', value: 'v', headers: { own: 'x' } }))
      await run.event('dead-lettered')
      isMended = true
      await lastValueFrom(run.client.replayDlq())
      await run.committed(dlqTopic, 0, 1)
      instrumented.unsubscribe()

      const spans = exporter.getFinishedSpans()
      expect(new Set(spans.map(traceOf)).size).toBe(1)
      const names = spans.map(({ name }) => name)
      for (const name of [
        ...[`send ${topic}`, `process ${topic}`, `settle ${topic}`, `send ${retryTopic}`, `process ${retryTopic}`],
        ...[`send ${dlqTopic}`, `process ${dlqTopic}`, `settle ${dlqTopic}`],
      ]) {
        expect(
          names.filter(each => each === name),
          name,
        ).toHaveLength(1)
      }
      const send = spans.find(({ name }) => name === `send ${topic}`)!
      expect(send.kind).toBe(SpanKind.PRODUCER)
      const stored = await Promise.all([topic, retryTopic, dlqTopic].map(name => backend.records(name)))
      for (const [record] of stored) {
        const [[, traceparent]] = record!.headers.filter(([name]) => name === 'traceparent') as [[string, Buffer]]
        expect(String(traceparent)).toBe(`00-${traceOf(send)}-${idOf(send)}-01`)
      }
    },
  )

  scenario(
    'works with kafkajs’s own instrumentation: each has its spans once, and reads the other’s context',
    async world => {
      const [there, back] = [await world.topic('there'), await world.topic('back')]
      const instrumentation = new KafkaJsInstrumentation()
      instrumentation.setTracerProvider(tracerProvider)
      instrumentation.enable()
      // Loaded with Node's own `require`, because that is what the instrumentation hooks into.
      const { Kafka, logLevel }: typeof import('kafkajs') = createRequire(import.meta.url)('kafkajs')
      const kafka = new Kafka({ brokers: kafkaBrokers, logLevel: logLevel.NOTHING })
      const producer = kafka.producer()
      const consumer = kafka.consumer({ groupId: world.name('kafkajs') })
      try {
        const run = world.client({ group: world.name('group') })
        const instrumented = instrument(run.client)
        run.client
          .topic(there)
          .pipe(handle(record => run.client.publish({ topic: back, value: record.value })))
          .subscribe()
        await run.start()
        await producer.connect()
        await producer.send({ topic: there, messages: [{ value: 'v' }] })
        await run.committed(there, 0, 1)
        const received = new Promise<void>(resolve => {
          consumer
            .connect()
            .then(() => consumer.subscribe({ topic: back, fromBeginning: true }))
            .then(() => consumer.run({ eachMessage: async () => resolve() }))
            .catch(error => expect.fail(String(error)))
        })
        await received
        await consumer.disconnect()
        instrumented.unsubscribe()
        const spans = exporter.getFinishedSpans()
        const rxmikaSpans = spans.filter(({ instrumentationScope }) => instrumentationScope.name === 'rxmika')
        const kafkajsSpans = spans.filter(({ instrumentationScope }) => instrumentationScope.name !== 'rxmika')
        expect(rxmikaSpans.map(({ name }) => name).sort()).toEqual(
          [`process ${there}`, `receive ${there}`, `send ${back}`, `settle ${there}`].sort(),
        )
        const produced = kafkajsSpans.find(({ kind }) => kind === SpanKind.PRODUCER)!
        const process = rxmikaSpans.find(({ name }) => name === `process ${there}`)!
        expect(process.parentSpanContext?.spanId).toBe(idOf(produced))
        const send = rxmikaSpans.find(({ name }) => name === `send ${back}`)!
        const consumed = kafkajsSpans.filter(({ kind }) => kind === SpanKind.CONSUMER)
        expect(consumed.map(traceOf)).toContain(traceOf(send))
      } finally {
        await Promise.all([producer.disconnect(), consumer.disconnect()])
        instrumentation.disable()
      }
    },
  )

  scenario('shows the current lag, even of a topic that is paused or has no subscriber', async world => {
    const [read, paused, nobody] = [await world.topic('read'), await world.topic('paused'), await world.topic('nobody')]
    const run = world.client({ group: world.name('group') })
    run.client.topic(read).subscribe(record => record.ack())
    run.client.topic(paused).subscribe(record => record.ack())
    run.client.topic(nobody)
    run.client.pause(paused)
    await run.start()
    const lag = (topic: string) => run.client.metrics().partitions.find(each => each.topic === topic)?.lag
    for (const topic of [read, paused, nobody]) await expect.poll(() => lag(topic), { timeout: 20_000 }).toBe(0n)
    for (const topic of [read, paused, nobody]) await backend.publish(topic, numbered(0, 7))
    await run.committed(read, 0, 7)
    await expect.poll(() => lag(read), { timeout: 20_000 }).toBe(0n)
    await expect.poll(() => lag(paused), { timeout: 20_000 }).toBe(7n)
    await expect.poll(() => lag(nobody), { timeout: 20_000 }).toBe(7n)
    run.client.resume(paused)
    await run.committed(paused, 0, 7)
    await expect.poll(() => lag(paused), { timeout: 20_000 }).toBe(0n)
    expect(run.client.metrics()).toMatchObject({ rebalances: 1, topics: { [read]: { delivered: 7, acked: 7 } } })
  })
})

describeOwnKafka('the health of a client', () => {
  const kafka = ownKafka()
  const { scenario } = kafka

  scenario('shows within 10 s that a broker hangs, that it is down, and that it is back', async world => {
    const topic = await world.topic('orders')
    // One client reads. The other is in no group, and only publishes from time to time.
    const reading = world.client({ group: world.name('group') })
    const idle = world.client()
    for (const run of [reading, idle]) run.expected = [ConnectionError]
    reading.client.topic(topic).subscribe(record => record.ack())
    expect(reading.client.health()).toMatchObject({ live: true, ready: false })
    await Promise.all([reading.start(), idle.start()])
    const ready = () => [reading, idle].map(({ client }) => client.health().ready)
    expect(ready()).toEqual([true, true])

    for (const [fall, rise] of [
      [() => kafka.server.pause(1), async () => kafka.server.resume(1)],
      [() => kafka.server.kill(1), () => kafka.server.restart(1)],
    ] as const) {
      await fall()
      const since = performance.now()
      const shown = [Number.NaN, Number.NaN]
      while (shown.some(Number.isNaN) && performance.now() - since < 30_000) {
        for (const [at, is] of ready().entries())
          if (!is && Number.isNaN(shown[at])) shown[at] = performance.now() - since
        await new Promise(resolve => setTimeout(resolve, 50))
      }
      console.info(`the outage showed after ${shown.map(Math.round).join(' and ')} ms`)
      for (const after of shown) expect(after).toBeLessThan(10_000)
      expect(reading.client.health()).toMatchObject({ live: true, reasons: [expect.stringContaining('no broker')] })
      await rise()
      await expect.poll(ready, { timeout: 40_000 }).toEqual([true, true])
    }
  })
})
