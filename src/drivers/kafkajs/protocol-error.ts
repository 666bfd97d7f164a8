import { kafkaError } from '../../protocol/errors.js'

interface KafkaJsError {
  readonly name?: string
  readonly type?: string
  readonly code?: unknown
  readonly retriable?: boolean
  readonly message?: string
  readonly broker?: unknown
  readonly cause?: unknown
}

/** The error and what caused it: kafkajs wraps what it gave up on, and the protocol's error is the innermost. */
export function* causes(error: unknown): Generator<KafkaJsError> {
  let at = error
  for (let depth = 0; depth < 10 && typeof at === 'object' && at !== null; depth++) {
    yield at as KafkaJsError
    at = (at as KafkaJsError).cause
  }
}

/** Kafka's own name of the error, such as `ILLEGAL_GENERATION`; undefined for what is no answer of a broker. */
export function errorType(error: unknown): string | undefined {
  for (const { type } of causes(error)) if (typeof type === 'string') return type
  return undefined
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** `host:port` of the broker that the error is about; undefined where nobody knows. */
export function brokerOf(error: unknown): string | undefined {
  for (const { broker } of causes(error)) if (typeof broker === 'string') return broker
  return undefined
}

/** The message, and which broker it is about where that is known. */
export function messageWithBroker(error: unknown): string {
  const broker = brokerOf(error)
  const message = messageOf(error)
  return broker === undefined || message.includes(broker) ? message : `${broker}: ${message}`
}

const connectionFailures = new Set([
  'KafkaJSConnectionError',
  'KafkaJSConnectionClosedError',
  'KafkaJSRequestTimeoutError',
  'KafkaJSLockTimeout',
  'KafkaJSBrokerNotFound',
  'KafkaJSNoBrokerAvailableError',
  'DeadlineError',
])

/** No answer, whatever the reason. */
export function isConnectionFailure(error: unknown): boolean {
  for (const { name } of causes(error)) if (name !== undefined && connectionFailures.has(name)) return true
  return false
}

/** The leader is elsewhere, or not elected yet: newer metadata will tell. */
export function isStaleMetadata(error: unknown): boolean {
  for (const { type, code } of causes(error)) {
    if (typeof type === 'string' && typeof code === 'number') return kafkaError(code).has('staleMetadata')
  }
  return false
}

export function isNotAuthorized(error: unknown): boolean {
  return errorType(error)?.endsWith('_AUTHORIZATION_FAILED') ?? false
}

/** A certificate we do not accept, or that is not accepted; or what answers speaks no TLS. */
export function isTlsRefusal(error: unknown): boolean {
  for (const { code } of causes(error)) if (typeof code === 'string' && tlsRefusal.test(code)) return true
  return false
}

const tlsRefusal =
  /^(ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(GET|VERIFY|DECRYPT)|HOSTNAME_MISMATCH)/

/** What answers speaks another protocol. */
export function isNotKafka(error: unknown): boolean {
  for (const { code } of causes(error)) if (code === 'NOT_KAFKA') return true
  return false
}

/** What trying again does not change: who we are, or what we may, or what answers is no Kafka. */
export function isRefusal(error: unknown): boolean {
  for (const { name, type } of causes(error)) {
    if (name === 'KafkaJSSASLAuthenticationError') return true
    if (type === 'SASL_AUTHENTICATION_FAILED' || type === 'UNSUPPORTED_SASL_MECHANISM') return true
  }
  return isNotKafka(error) || isTlsRefusal(error)
}

/** True, unless the broker says that the same request will never pass. */
export function isRetriable(error: unknown): boolean {
  for (const { type, retriable } of causes(error)) if (type !== undefined) return retriable !== false
  return true
}

export interface OutOfRange {
  readonly topic: string
  readonly partition: number
}

/** The partition whose fetch offset is not, or no longer, in the log. */
export function outOfRange(error: unknown): OutOfRange | undefined {
  for (const cause of causes(error)) {
    if (cause.name === 'KafkaJSOffsetOutOfRange') return cause as unknown as OutOfRange
  }
  return undefined
}
