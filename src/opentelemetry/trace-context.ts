import { createTraceState, isSpanContextValid, type TextMapPropagator, TraceFlags, trace } from '@opentelemetry/api'

const format = /^(?!ff)[\da-f]{2}-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/

/** W3C Trace Context, for programs that instrument a client without registering a propagator. */
export const traceContext: TextMapPropagator = {
  fields: () => ['traceparent', 'tracestate'],
  inject(context, carrier, setter) {
    const span = trace.getSpanContext(context)
    if (span === undefined || !isSpanContextValid(span)) return
    const flags = (span.traceFlags & 0xff).toString(16).padStart(2, '0')
    setter.set(carrier, 'traceparent', `00-${span.traceId}-${span.spanId}-${flags}`)
    const state = span.traceState?.serialize()
    if (state) setter.set(carrier, 'tracestate', state)
  },
  extract(context, carrier, getter) {
    const header = getter.get(carrier, 'traceparent')
    const found = typeof header === 'string' ? format.exec(header.trim()) : null
    // Only a later version may have more after it.
    if (found === null || (found[4] !== undefined && found[0].startsWith('00'))) return context
    const [, traceId, spanId, flags] = found as unknown as [string, string, string, string]
    const state = getter.get(carrier, 'tracestate')
    const span = {
      traceId,
      spanId,
      traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED,
      isRemote: true,
      ...(typeof state === 'string' && { traceState: createTraceState(state) }),
    }
    return isSpanContextValid(span) ? trace.setSpanContext(context, span) : context
  },
}
