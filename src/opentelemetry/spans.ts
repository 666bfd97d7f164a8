import {
  type Context,
  context,
  type Link,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import type { ProcessMessage, PublishMessage, ReceiveMessage, SettleMessage, SurroundingMessage } from '../channels.js'
import { deliveryBehind } from '../delivery.js'
import type { PublishRecord } from '../publish.js'
import type { ConsumeRecord } from '../record.js'
import { messageOf } from '../retry/reason.js'
import { errorType, keyAttribute, operationAttributes, recordAttributes } from './attributes.js'
import type { Listener } from './listening.js'
import { type Propagation, validSpanContext } from './propagation.js'

/** `'message'`: the span of a record is a child of the context in its headers; `'none'`: it only links to that context. */
export type SpanParent = 'message' | 'none'

/** The spans of one client, by the semantic conventions for messaging. */
export class Spans {
  readonly #tracer: Tracer
  readonly #propagation: Propagation
  readonly #parent: SpanParent
  /** The spans of open operations, by their messages. */
  readonly #open = new WeakMap<object, Span>()
  /** The contexts of records being processed. Settlements and copies of a record belong to its context. */
  readonly #work = new WeakMap<object, Context>()

  constructor(tracer: Tracer, propagation: Propagation, parent: SpanParent) {
    this.#tracer = tracer
    this.#propagation = propagation
    this.#parent = parent
  }

  readonly receive: Listener<ReceiveMessage> = {
    start: message => {
      const { record } = message
      const span = this.#spanOf(message, 'receive', SpanKind.CLIENT, [record], this.#propagation.of(record), false)
      this.#surround(message, [record], span)
    },
    end: message => this.#end(message, undefined),
  }

  readonly process: Listener<ProcessMessage> = {
    start: message => {
      const { records, batch } = message
      const carried = this.#carriedBy(records)
      const span = this.#spanOf(message, 'process', SpanKind.CONSUMER, records, carried, batch)
      this.#surround(message, records, span)
    },
    asyncEnd: message => this.#end(message, message),
  }

  readonly settle: Listener<SettleMessage> = {
    start: message => {
      const { record, how } = message
      const creation = validSpanContext(this.#propagation.of(record))
      const { topic } = record.source
      const span = this.#tracer.startSpan(
        `settle ${topic}`,
        {
          kind: SpanKind.CLIENT,
          attributes: {
            ...operationAttributes(message, 'settle', topic),
            ...recordAttributes(record),
            'rxmika.settlement': how,
            ...(how === 'fail' && { 'rxmika.failure.type': errorType(message.reason) }),
          },
          links: linksTo(creation),
        },
        this.#workOn(record),
      )
      this.#open.set(message, span)
    },
    end: message => this.#end(message, undefined),
  }

  readonly publish: Listener<PublishMessage> = {
    start: message => {
      if (message.copyOf === undefined) this.#publishing(message)
      else this.#copying(message, message.copyOf)
    },
    asyncEnd: message => {
      const span = this.#open.get(message)
      const place = message.result?.length === 1 ? message.result[0] : undefined
      if (place !== undefined) {
        span?.setAttribute('messaging.destination.partition.id', String(place.partition))
        span?.setAttribute('messaging.kafka.offset', Number(place.offset))
      }
      this.#end(message, message)
    },
  }

  /** The span of a copy belongs to the work that failed. The copy keeps the context that the record came with. */
  #copying(message: PublishMessage, copyOf: ConsumeRecord<unknown>): void {
    const topic = message.topics[0]
    const span = this.#tracer.startSpan(
      nameOf('send', topic),
      {
        kind: SpanKind.CLIENT,
        attributes: {
          ...operationAttributes(message, 'send', topic),
          ...keyAttribute(copyOf.key),
          'rxmika.origin.topic': copyOf.topic,
          'rxmika.origin.partition.id': String(copyOf.partition),
          'rxmika.origin.offset': Number(copyOf.offset),
        },
        links: linksTo(validSpanContext(this.#propagation.of(copyOf))),
      },
      this.#workOn(copyOf),
    )
    this.#open.set(message, span)
  }

  #publishing(message: PublishMessage): void {
    const { records, topics } = message
    const topic = topics.length === 1 ? topics[0] : undefined
    const single = records.length === 1 ? records[0] : undefined
    const creator = single !== undefined && !this.#propagation.has(single)
    const span = this.#tracer.startSpan(nameOf('send', topic), {
      kind: creator ? SpanKind.PRODUCER : SpanKind.CLIENT,
      attributes: {
        ...operationAttributes(message, 'send', topic),
        ...(single === undefined ? { 'messaging.batch.message_count': records.length } : publishedAttributes(single)),
      },
      links: records.flatMap(record => linksTo(this.#propagation.creationContext(record))),
    })
    this.#open.set(message, span)
    const within = trace.setSpan(context.active(), span)
    message.records = records.map(record => {
      if (this.#propagation.has(record)) return record
      if (creator) return this.#propagation.inject(within, record)
      return this.#propagation.inject(this.#created(message, record, within, span), record)
    })
  }

  /** One of several records. It has its own span, whose context it carries. */
  #created(message: PublishMessage, record: PublishRecord, within: Context, send: Span): Context {
    const created = this.#tracer.startSpan(
      nameOf('create', record.topic),
      {
        kind: SpanKind.PRODUCER,
        attributes: { ...operationAttributes(message, 'create', record.topic), ...publishedAttributes(record) },
      },
      within,
    )
    created.end()
    send.addLink({ context: created.spanContext() })
    return trace.setSpan(within, created)
  }

  #spanOf(
    message: ReceiveMessage | ProcessMessage,
    type: 'receive' | 'process',
    kind: SpanKind,
    records: readonly ConsumeRecord<unknown>[],
    carried: Context,
    batch: boolean,
  ): Span {
    const topics = new Set(records.map(({ source }) => source.topic))
    const topic = topics.size === 1 ? records[0]!.source.topic : undefined
    const span = this.#tracer.startSpan(
      nameOf(type, topic),
      {
        kind,
        attributes: {
          ...operationAttributes(message, type, topic),
          ...(batch ? { 'messaging.batch.message_count': records.length } : recordAttributes(records[0]!)),
        },
        links: records.flatMap(record => {
          const links = linksTo(validSpanContext(this.#propagation.of(record)))
          return batch ? links.map(link => ({ ...link, attributes: recordAttributes(record) })) : links
        }),
        root: this.#parent === 'none',
      },
      carried,
    )
    this.#open.set(message, span)
    // The work also gets what else came with the record, such as baggage.
    const work = trace.setSpan(carried, span)
    for (const record of records) this.#work.set(deliveryBehind(record) ?? record, work)
    return span
  }

  /** For a batch, the context that all of its records share, because a span has one parent. */
  #carriedBy(records: readonly ConsumeRecord<unknown>[]): Context {
    const [first, ...others] = records.map(record => this.#propagation.of(record))
    const parent = validSpanContext(first!)
    const isOne = others.every(other => {
      const span = validSpanContext(other)
      return span?.traceId === parent?.traceId && span?.spanId === parent?.spanId
    })
    return isOne ? first! : ROOT_CONTEXT
  }

  #workOn(record: ConsumeRecord<unknown>): Context {
    return this.#work.get(deliveryBehind(record) ?? record) ?? this.#propagation.of(record)
  }

  #surround(message: SurroundingMessage, records: readonly ConsumeRecord<unknown>[], _span: Span): void {
    const work = this.#workOn(records[0]!)
    const around = message.within
    message.within = <T>(run: () => T): T => context.with(work, (): T => (around === undefined ? run() : around(run)))
  }

  #end(message: object, ended: { readonly error?: unknown; readonly cancelled?: boolean } | undefined): void {
    const span = this.#open.get(message)
    if (span === undefined) return
    this.#open.delete(message)
    if (ended !== undefined && ended.error !== undefined) failed(span, ended.error)
    if (ended?.cancelled === true) span.setAttribute('rxmika.cancelled', true)
    span.end()
  }
}

function failed(span: Span, error: unknown): void {
  span.setAttribute('error.type', errorType(error))
  span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) })
  try {
    if (error instanceof Error) span.recordException(error)
  } catch {
    // It cannot be read: its type and a message are recorded above.
  }
}

function nameOf(type: string, topic: string | undefined): string {
  return topic === undefined ? type : `${type} ${topic}`
}

function linksTo(creation: ReturnType<typeof validSpanContext>): Link[] {
  return creation === undefined ? [] : [{ context: creation }]
}

function publishedAttributes({ key, value, partition }: PublishRecord) {
  return {
    ...keyAttribute(key),
    ...(partition !== undefined && { 'messaging.destination.partition.id': String(partition) }),
    ...(value === null && { 'messaging.kafka.message.tombstone': true }),
  }
}
