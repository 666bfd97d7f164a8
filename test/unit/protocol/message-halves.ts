import { messages } from '../../../src/protocol/messages/all.js'
import {
  assignment,
  CONSUMER_PROTOCOL_VERSION,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  subscription,
} from '../../../src/protocol/messages/consumer-protocol.js'
import type { Fields, Values } from './any-value'

/** A request, a response or other data in one version: what is encoded on one side and decoded on the other. */
export interface MessageHalf {
  /** The name of Kafka's class for it: `FetchRequestData`. */
  readonly name: string
  readonly version: number
  readonly flexible: boolean
  readonly fields: Fields
  encode(value: Values): Buffer
  decode(bytes: Buffer): unknown
}

const upTo = (min: number, max: number) => Array.from({ length: max - min + 1 }, (_, i) => min + i)

const ofMessages = messages.flatMap(message => {
  const { min, max } = message.versions
  return upTo(min, max).flatMap((version): MessageHalf[] => [
    {
      name: `${message.name}RequestData`,
      version,
      flexible: message.isFlexible(version),
      fields: message.request.fields,
      encode: value => message.encodeRequest(value, version),
      decode: bytes => message.decodeRequest(bytes, version),
    },
    {
      name: `${message.name}ResponseData`,
      version,
      flexible: message.isFlexible(version),
      fields: message.response.fields,
      encode: value => message.encodeResponse(value, version),
      decode: bytes => message.decodeResponse(bytes, version),
    },
  ])
})

/** The data that classic members exchange. Its version is written before it, and Kafka's class does not read that. */
const withVersion = (version: number, bytes: Buffer) => Buffer.concat([Buffer.from([0, version]), bytes])
const ofConsumers = upTo(0, CONSUMER_PROTOCOL_VERSION).flatMap((version): MessageHalf[] => [
  {
    name: 'ConsumerProtocolSubscription',
    version,
    flexible: false,
    fields: subscription.fields,
    encode: value => encodeSubscription(value as never, version).subarray(2),
    decode: bytes => decodeSubscription(withVersion(version, bytes)),
  },
  {
    name: 'ConsumerProtocolAssignment',
    version,
    flexible: false,
    fields: assignment.fields,
    encode: value => encodeAssignment(value as never, version).subarray(2),
    decode: bytes => decodeAssignment(withVersion(version, bytes)),
  },
])

export const messageHalves: readonly MessageHalf[] = [...ofMessages, ...ofConsumers]
