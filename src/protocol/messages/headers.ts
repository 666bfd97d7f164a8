import type { AnyMessage, RequestOf } from '../schema/message.js'
import { MalformedMessageError } from '../wire/malformed-message-error.js'
import { Reader } from '../wire/reader.js'
import { Writer } from '../wire/writer.js'
import { messageOf } from './all.js'

// The headers of messages, which follow the four bytes of the size.
// Source: RequestHeader.json (v1, flexible v2) and ResponseHeader.json (v0, flexible v1) of Apache Kafka 4.4.0.

const sizeBytes = 4

export interface RequestHeader {
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
  readonly clientId: string | null
}

/** A complete request for the socket, including its size. Its bytes are copied only once, because they may be many. */
export function encodeRequest<M extends AnyMessage>(
  message: M,
  header: Omit<RequestHeader, 'apiKey'>,
  request: RequestOf<M>,
): Buffer {
  const writer = new Writer()
  // Replaced by the size once it is known.
  writer.int32(0)
  writeRequestHeader(writer, message, header)
  message.writeRequest(writer, request, header.apiVersion)
  const bytes = writer.toBuffer()
  bytes.writeInt32BE(bytes.length - sizeBytes)
  return bytes
}

/** As `encodeRequest`, for a body that is already encoded. */
export function encodeRequestFrame(
  message: Pick<AnyMessage, 'key' | 'isFlexible'>,
  header: Omit<RequestHeader, 'apiKey'>,
  body: Buffer,
): Buffer {
  const writer = new Writer()
  writeRequestHeader(writer, message, header)
  return frame(writer, body)
}

function writeRequestHeader(
  writer: Writer,
  message: Pick<AnyMessage, 'key' | 'isFlexible'>,
  header: Omit<RequestHeader, 'apiKey'>,
): void {
  writer.int16(message.key)
  writer.int16(header.apiVersion)
  writer.int32(header.correlationId)
  // Never compact, because brokers read it before they know the version.
  writer.nullableString(header.clientId)
  if (message.isFlexible(header.apiVersion)) writer.tags()
}

/**
 * For fake brokers: decodes the header of a request, without its size. Returns the rest as the body.
 *
 * @throws MalformedMessageError also for messages and versions that are not implemented, because their header is not known
 */
export function decodeRequestHeader(bytes: Buffer): { readonly header: RequestHeader; readonly body: Buffer } {
  const reader = new Reader(bytes)
  const header = {
    apiKey: reader.int16(),
    apiVersion: reader.int16(),
    correlationId: reader.int32(),
    clientId: reader.nullableString(),
  }
  const message = messageOf(header.apiKey)
  if (message === undefined) throw new MalformedMessageError(`API key ${header.apiKey} is not implemented`)
  if (message.isFlexible(header.apiVersion)) reader.tags()
  return { header, body: bytes.subarray(reader.position) }
}

/** For fake brokers: a complete response for the socket, including its size. */
export function encodeResponseFrame(message: AnyMessage, version: number, correlationId: number, body: Buffer): Buffer {
  const writer = new Writer()
  writer.int32(correlationId)
  if (message.hasFlexibleResponseHeader(version)) writer.tags()
  return frame(writer, body)
}

/** The correlation id of a response, whose size was removed. */
export function correlationIdOf(bytes: Buffer): number {
  return new Reader(bytes).int32()
}

/**
 * The body of a response, whose size was removed.
 *
 * @throws MalformedMessageError
 */
export function responseBody(
  message: Pick<AnyMessage, 'hasFlexibleResponseHeader'>,
  version: number,
  bytes: Buffer,
): Buffer {
  const reader = new Reader(bytes)
  reader.int32()
  if (message.hasFlexibleResponseHeader(version)) reader.tags()
  return bytes.subarray(reader.position)
}

function frame(header: Writer, body: Buffer): Buffer {
  const size = Buffer.allocUnsafe(sizeBytes)
  size.writeInt32BE(header.length + body.length)
  return Buffer.concat([size, header.toBuffer(), body])
}
