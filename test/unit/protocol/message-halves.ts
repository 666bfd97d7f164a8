import { messages } from '../../../src/protocol/messages/all.js'
import type { AnyMessage } from '../../../src/protocol/schema/message.js'
import type { Fields, Values } from './any-value'

/** A request or a response in one version: what is encoded on one side and decoded on the other. */
export interface MessageHalf {
  /** The name of Kafka's class for it: `FetchRequestData`. */
  readonly name: string
  readonly message: AnyMessage
  readonly version: number
  readonly fields: Fields
  encode(value: Values): Buffer
  decode(bytes: Buffer): unknown
}

export const messageHalves: readonly MessageHalf[] = messages.flatMap(message => {
  const { min, max } = message.versions
  const versions = Array.from({ length: max - min + 1 }, (_, i) => min + i)
  return versions.flatMap((version): MessageHalf[] => [
    {
      name: `${message.name}RequestData`,
      message,
      version,
      fields: message.request.fields,
      encode: value => message.encodeRequest(value, version),
      decode: bytes => message.decodeRequest(bytes, version),
    },
    {
      name: `${message.name}ResponseData`,
      message,
      version,
      fields: message.response.fields,
      encode: value => message.encodeResponse(value, version),
      decode: bytes => message.decodeResponse(bytes, version),
    },
  ])
})
