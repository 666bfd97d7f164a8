import { Reader } from '../wire/reader.js'
import { Writer } from '../wire/writer.js'
import type { Fields, ReadStruct, Struct, WrittenStruct } from './struct.js'
import type { Format } from './type.js'

/** Versions of a message, both included. */
export interface VersionRange {
  readonly min: number
  readonly max: number
}

export interface MessageDefinition<Request extends Fields, Response extends Fields> {
  /** The name in Kafka: `OffsetFetch`. */
  readonly name: string
  /** The API key. */
  readonly key: number
  /** The versions that this client implements. */
  readonly versions: readonly [min: number, max: number]
  /** The first flexible version. */
  readonly flexibleSince: number
  /** False only for ApiVersions: its response must be readable before anything is known of the broker. */
  readonly flexibleResponseHeader?: boolean
  readonly request: Struct<Request>
  readonly response: Struct<Response>
}

/** A request of Kafka's protocol and its response: the bodies without headers, for encoding and decoding. */
export class Message<Request extends Fields, Response extends Fields> {
  readonly name: string
  readonly key: number
  readonly versions: VersionRange
  readonly request: Struct<Request>
  readonly response: Struct<Response>
  readonly #flexibleSince: number
  readonly #flexibleResponseHeader: boolean

  constructor(definition: MessageDefinition<Request, Response>) {
    const [min, max] = definition.versions
    this.name = definition.name
    this.key = definition.key
    this.versions = { min, max }
    this.request = definition.request
    this.response = definition.response
    this.#flexibleSince = definition.flexibleSince
    this.#flexibleResponseHeader = definition.flexibleResponseHeader ?? true
  }

  /** Whether the version has compact types and tagged fields, and a request header with tagged fields (v2). */
  isFlexible(version: number): boolean {
    return version >= this.#flexibleSince
  }

  /** Whether the response header of the version has tagged fields (v1). */
  hasFlexibleResponseHeader(version: number): boolean {
    return this.#flexibleResponseHeader && this.isFlexible(version)
  }

  /** The newest version that both this client and the broker implement; undefined if there is none. */
  versionFor(broker: VersionRange | undefined): number | undefined {
    if (broker === undefined) return undefined
    const version = Math.min(this.versions.max, broker.max)
    return version < this.versions.min || version < broker.min ? undefined : version
  }

  /**
   * @throws UnsupportedFieldError if a value is given for a field that the version lacks, and that must not be dropped
   * @throws RangeError if a value does not fit its type
   */
  encodeRequest(value: WrittenStruct<Request>, version: number): Buffer {
    const writer = new Writer()
    this.writeRequest(writer, value, version)
    return writer.toBuffer()
  }

  /** Throws as `encodeRequest` does. */
  writeRequest(writer: Writer, value: WrittenStruct<Request>, version: number): void {
    this.request.write(writer, value, this.#format(version))
  }

  /**
   * Bytes after the response are ignored, as Kafka's own clients do.
   *
   * @throws MalformedMessageError
   */
  decodeResponse(bytes: Buffer, version: number): ReadStruct<Response> {
    return this.response.read(new Reader(bytes), this.#format(version))
  }

  /**
   * For fake brokers. Bytes after the request are refused.
   *
   * @throws MalformedMessageError
   */
  decodeRequest(bytes: Buffer, version: number): ReadStruct<Request> {
    const reader = new Reader(bytes)
    const request = this.request.read(reader, this.#format(version))
    reader.end()
    return request
  }

  /** For fake brokers. Throws as `encodeRequest` does. */
  encodeResponse(value: WrittenStruct<Response>, version: number): Buffer {
    const writer = new Writer()
    this.response.write(writer, value, this.#format(version))
    return writer.toBuffer()
  }

  #format(version: number): Format {
    const { min, max } = this.versions
    if (!(version >= min && version <= max)) {
      throw new RangeError(`${this.name} is implemented in the versions ${min} to ${max} (got ${version})`)
    }
    return { version, flexible: this.isFlexible(version) }
  }
}

// biome-ignore lint/suspicious/noExplicitAny: the type of the message's values does not matter here.
export type AnyMessage = Message<any, any>

/** The type of a request to write. */
export type RequestOf<M extends AnyMessage> = M extends Message<infer Request, infer _> ? WrittenStruct<Request> : never
/** The type of a response that was read. */
export type ResponseOf<M extends AnyMessage> = M extends Message<infer _, infer Response> ? ReadStruct<Response> : never
/** For fake brokers: the type of a request that was read. */
export type ReceivedRequestOf<M extends AnyMessage> =
  M extends Message<infer Request, infer _> ? ReadStruct<Request> : never
/** For fake brokers: the type of a response to write. */
export type SentResponseOf<M extends AnyMessage> =
  M extends Message<infer _, infer Response> ? WrittenStruct<Response> : never

export function message<Request extends Fields, Response extends Fields>(
  definition: MessageDefinition<Request, Response>,
): Message<Request, Response> {
  return new Message(definition)
}
