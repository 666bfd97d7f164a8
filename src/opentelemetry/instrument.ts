import {
  type MeterProvider,
  metrics,
  propagation,
  type TextMapPropagator,
  type TracerProvider,
  trace,
} from '@opentelemetry/api'
import { Subscription } from 'rxjs'
import {
  commitChannel,
  processChannel,
  publishChannel,
  rebalanceChannel,
  receiveChannel,
  settleChannel,
} from '../channels.js'
import type { Client } from '../client/client.js'
import { checkOptions, invalid, type KnownOptions } from '../options.js'
import { observeClient } from './client-metrics.js'
import { listen } from './listening.js'
import { OperationMetrics } from './operation-metrics.js'
import { Propagation } from './propagation.js'
import { type SpanParent, Spans } from './spans.js'
import { traceContext } from './trace-context.js'

/** The options of `instrument`. */
export interface InstrumentOptions {
  /** Default: the global provider, `trace.getTracerProvider()`, even if it is registered later. */
  readonly tracerProvider?: TracerProvider | undefined
  /** Default: the global provider. It must be registered before, because the API cannot pass on a later one. */
  readonly meterProvider?: MeterProvider | undefined
  /** Default: the global propagator; if none is registered, W3C Trace Context (`traceparent`, `tracestate`). */
  readonly propagator?: TextMapPropagator | undefined
  /**
   * `'message'` (default): the span of a record is a child of the context in the record's headers, and links to it, so that
   * everything that happens to a record is one trace. `'none'`: the span begins a new trace, and only links to that context.
   */
  readonly parent?: SpanParent | undefined
}

const known: KnownOptions<InstrumentOptions> = {
  tracerProvider: true,
  meterProvider: true,
  propagator: true,
  parent: true,
}

/** The global propagator, even if it is registered later. The API's default does nothing and has no fields. */
const registered: TextMapPropagator = {
  fields: () => (isRegistered() ? propagation.fields() : traceContext.fields()),
  inject: (context, carrier, setter) =>
    isRegistered() ? propagation.inject(context, carrier, setter) : traceContext.inject(context, carrier, setter),
  extract: (context, carrier, getter) =>
    isRegistered() ? propagation.extract(context, carrier, getter) : traceContext.extract(context, carrier, getter),
}

function isRegistered(): boolean {
  return propagation.fields().length > 0
}

const schema = { schemaUrl: 'https://opentelemetry.io/schemas/1.44.0' }

/**
 * Adds spans and metrics to a client, by OpenTelemetry's semantic conventions for messaging (1.44), and further metrics of this
 * library.
 *
 * `publish` writes its context (`traceparent`) into the headers of each record that has none. Copies on retry and DLQ topics
 * keep the context that the record came with, byte for byte. So publish, process, retries, dead letter and replay are one
 * trace.
 *
 * Returns a Subscription; unsubscribing removes the instrumentation. A process that ends with its client needs no call of it. One that
 * makes clients again and again unsubscribes after each is closed, or the closed clients stay in memory.
 *
 * @example
 * instrument(client)
 *
 * @throws ConfigurationError if an option is invalid or unknown, or if `client` is not a client.
 */
export function instrument(client: Client, options: InstrumentOptions = {}): Subscription {
  checkOptions('instrument', options, known)
  if (typeof (client as Partial<Client> | null)?.metrics !== 'function') {
    throw invalid('instrument: the client', client, 'must be a client that createClient made')
  }
  const { tracerProvider, meterProvider, propagator, parent = 'message' } = options
  if (parent !== 'message' && parent !== 'none') {
    throw invalid('instrument: parent', parent, "must be 'message' or 'none'")
  }
  if (tracerProvider !== undefined && typeof tracerProvider?.getTracer !== 'function') {
    throw invalid('instrument: tracerProvider', tracerProvider, 'must be a TracerProvider')
  }
  if (meterProvider !== undefined && typeof meterProvider?.getMeter !== 'function') {
    throw invalid('instrument: meterProvider', meterProvider, 'must be a MeterProvider')
  }
  if (propagator !== undefined && typeof propagator?.inject !== 'function') {
    throw invalid('instrument: propagator', propagator, 'must be a TextMapPropagator')
  }
  const tracer = (tracerProvider ?? trace.getTracerProvider()).getTracer('rxmika', undefined, schema)
  const meter = (meterProvider ?? metrics.getMeterProvider()).getMeter('rxmika', undefined, schema)
  const spans = new Spans(tracer, new Propagation(propagator ?? registered), parent)
  const counts = new OperationMetrics(meter)

  const all = new Subscription()
  // Metrics first, so that they also measure the creation of the span.
  for (const listener of [counts, spans]) {
    all.add(listen(receiveChannel, client, listener.receive))
    all.add(listen(processChannel, client, listener.process))
    all.add(listen(settleChannel, client, listener.settle))
    all.add(listen(publishChannel, client, listener.publish))
  }
  all.add(listen(commitChannel, client, counts.commit))
  all.add(listen(rebalanceChannel, client, counts.rebalance))
  all.add(observeClient(meter, client))
  return all
}
