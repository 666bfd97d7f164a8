import type { Attributes, AttributeValue } from '@opentelemetry/api'
import type { ClientMessage } from '../channels.js'
import type { ConsumeRecord } from '../record.js'
import { nameOf } from '../retry/reason.js'

// The names of the semantic conventions 1.44 for messaging and Kafka, as literals: their package is larger than this code.

/** The operation, as `messaging.operation.type` and as the first word of a span's name. */
export type OperationType = 'create' | 'send' | 'receive' | 'process' | 'settle'

/** Longer keys are not shown, characters. */
const maxKeyLength = 256

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The attributes of every span and metric of an operation. */
export function operationAttributes(
  { clientId, group }: ClientMessage,
  type: OperationType,
  topic: string | undefined,
): Attributes {
  return {
    'messaging.system': 'kafka',
    'messaging.operation.name': type,
    'messaging.operation.type': type,
    ...(topic !== undefined && { 'messaging.destination.name': topic }),
    ...(clientId !== undefined && { 'messaging.client.id': clientId }),
    // Only for consumers.
    ...(group !== undefined && type !== 'create' && type !== 'send' && { 'messaging.consumer.group.name': group }),
  }
}

/** The attributes of metrics: only those with few values. */
export function metricAttributes(message: ClientMessage, type: OperationType, topic: string | undefined): Attributes {
  const { 'messaging.client.id': _, ...attributes } = operationAttributes(message, type, topic)
  return attributes
}

/** Where a record was read; for a copy also where it was first published. */
export function recordAttributes(record: ConsumeRecord<unknown>): Attributes {
  const { source, attempt } = record
  return {
    'messaging.destination.partition.id': String(source.partition),
    'messaging.kafka.offset': Number(source.offset),
    ...keyAttribute(record.key),
    ...(record.value === null && { 'messaging.kafka.message.tombstone': true }),
    'rxmika.attempt': attempt,
    ...(source.kind !== 'topic' && {
      'rxmika.origin.topic': record.topic,
      'rxmika.origin.partition.id': String(record.partition),
      'rxmika.origin.offset': Number(record.offset),
    }),
  }
}

/** The key, if it is text: only that has one canonical form. */
export function keyAttribute(key: Buffer | string | null | undefined): { [name: string]: AttributeValue } {
  if (key === null || key === undefined || key.length > maxKeyLength) return {}
  if (typeof key === 'string') return { 'messaging.kafka.message.key': key }
  try {
    return { 'messaging.kafka.message.key': utf8.decode(key) }
  } catch {
    return {}
  }
}

/** A class of errors with few values: a code of Kafka or of this package if there is one, otherwise the class name. */
export function errorType(error: unknown): string {
  return codeOf(error) ?? nameOf(error)
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  try {
    const { reason } = error as { readonly reason?: unknown }
    return typeof reason === 'string' && /^[A-Z_]{3,60}$/.test(reason) ? reason : undefined
  } catch {
    // A record may fail with any value: a proxy, or an object whose getters throw.
    return undefined
  }
}
