import {
  type Context,
  isSpanContextValid,
  ROOT_CONTEXT,
  type SpanContext,
  type TextMapGetter,
  type TextMapPropagator,
  trace,
} from '@opentelemetry/api'
import { headerPairs, type PublishRecord } from '../publish.js'
import type { ConsumeRecord } from '../record.js'

const consumed: TextMapGetter<ConsumeRecord<unknown>> = {
  keys: record => Object.keys(record.headers),
  get: (record, name) => record.header(name)?.toString(),
}

const published: TextMapGetter<PublishRecord> = {
  keys: record => headerPairs(record.headers).map(([name]) => name),
  get: (record, name) =>
    headerPairs(record.headers)
      .findLast(pair => pair[0] === name)?.[1]
      ?.toString(),
}

/** Contexts in the headers of records: `traceparent` and the other fields of the propagator. */
export class Propagation {
  constructor(readonly propagator: Pick<TextMapPropagator, 'inject' | 'extract' | 'fields'>) {}

  /** The context in the headers of a consumed record. */
  of(record: ConsumeRecord<unknown>): Context {
    return this.propagator.extract(ROOT_CONTEXT, record, consumed)
  }

  /** The context in the headers of a record to publish, if the caller has set one. It is kept. */
  creationContext(record: PublishRecord): SpanContext | undefined {
    return validSpanContext(this.propagator.extract(ROOT_CONTEXT, record, published))
  }

  /** Whether a record has any header of a context, valid or not. */
  has(record: PublishRecord): boolean {
    if (record.headers === undefined) return false
    // Baggage and trace state alone are not a context.
    const fields = this.propagator.fields().filter(field => field !== 'baggage' && field !== 'tracestate')
    return headerPairs(record.headers).some(([name]) => fields.includes(name))
  }

  /** Returns the record with the context in its headers. The headers keep their form. */
  inject(context: Context, record: PublishRecord): PublishRecord {
    const written: [name: string, value: string][] = []
    this.propagator.inject(context, written, { set: (carrier, name, value) => carrier.push([name, value]) })
    if (written.length === 0) return record
    const { headers } = record
    if (Array.isArray(headers)) {
      const own = written.map(([name, value]) => [name, Buffer.from(value)] as const)
      return { ...record, headers: [...headers.filter(([name]) => !written.some(([other]) => other === name)), ...own] }
    }
    // Header names come from outside, so the object has no prototype.
    const own = Object.assign(Object.create(null), headers, Object.fromEntries(written))
    return { ...record, headers: own }
  }
}

export function validSpanContext(context: Context): SpanContext | undefined {
  const span = trace.getSpanContext(context)
  return span !== undefined && isSpanContextValid(span) ? span : undefined
}
