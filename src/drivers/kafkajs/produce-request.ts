import type { Broker, ProtocolRequest } from './kafkajs-internals.js'

/** One record batch on its way to its partition's leader. */
export interface OutgoingBatch {
  readonly topic: string
  readonly partition: number
  readonly bytes: Buffer
}

/** What the leader says to one batch. */
export interface ProduceAnswer {
  readonly topic: string
  readonly partition: number
  /** 0: written. */
  readonly errorCode: number
  readonly baseOffset: bigint
}

const produceKey = 0
/** The versions this knows: 3 brought today's batches, 7 is the last that kafkajs speaks too. */
const newestVersion = 7

/**
 * Asks a broker to write, one batch a partition, and tells what it said of each. kafkajs's own request makes one error
 * of all, and does not tell which partitions were written.
 */
export async function sendProduceRequest(
  broker: Broker,
  batches: readonly OutgoingBatch[],
  timeout: number,
): Promise<readonly ProduceAnswer[]> {
  const version = Math.min(newestVersion, broker.versions?.[produceKey]?.maxVersion ?? newestVersion)
  const request: ProtocolRequest = {
    request: {
      apiKey: produceKey,
      apiVersion: version,
      apiName: 'Produce',
      encode: async () => {
        const buffer = encode(batches, timeout)
        return { buf: buffer, buffer }
      },
    },
    response: {
      decode: async payload => decode(payload, version),
      parse: async decoded => (decoded as { answers: readonly ProduceAnswer[] }).answers,
    },
  }
  return (await broker.connectionPool.send(request)) as readonly ProduceAnswer[]
}

function encode(batches: readonly OutgoingBatch[], timeout: number): Buffer {
  const parts: Buffer[] = [prefix(batches.length, timeout)]
  for (const { topic, partition, bytes } of batches) {
    const name = Buffer.from(topic)
    const head = Buffer.allocUnsafe(2 + name.length + 12)
    head.writeInt16BE(name.length, 0)
    name.copy(head, 2)
    head.writeInt32BE(1, 2 + name.length)
    head.writeInt32BE(partition, 6 + name.length)
    head.writeInt32BE(bytes.length, 10 + name.length)
    parts.push(head, bytes)
  }
  return Buffer.concat(parts)
}

/** No transaction; all replicas in sync acknowledge. A topic may be named once for each of its partitions. */
function prefix(topics: number, timeout: number): Buffer {
  const buffer = Buffer.allocUnsafe(12)
  buffer.writeInt16BE(-1, 0)
  buffer.writeInt16BE(-1, 2)
  buffer.writeInt32BE(timeout, 4)
  buffer.writeInt32BE(topics, 8)
  return buffer
}

function decode(payload: Buffer, version: number): object {
  const answers: ProduceAnswer[] = []
  let at = 4
  for (let topics = payload.readInt32BE(0); topics > 0; topics--) {
    const length = payload.readInt16BE(at)
    const topic = payload.toString('utf8', at + 2, at + 2 + length)
    at += 2 + length + 4
    for (let partitions = payload.readInt32BE(at - 4); partitions > 0; partitions--) {
      answers.push({
        topic,
        partition: payload.readInt32BE(at),
        errorCode: payload.readInt16BE(at + 4),
        baseOffset: payload.readBigInt64BE(at + 6),
      })
      at += version >= 5 ? 30 : 22
    }
  }
  const throttle = payload.readInt32BE(at)
  // From version 6 on it is for the client to wait.
  return { answers, clientSideThrottleTime: version >= 6 ? throttle : 0 }
}
