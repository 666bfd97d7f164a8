import type { OutgoingBatch, ProduceAnswer } from '../../src/drivers/kafka/writing/leaders'

/** @param timeout How long the leader may wait for its replicas, ms. */
export function encodeProduce(batches: readonly OutgoingBatch[], timeout: number): Buffer {
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

/** Without a transaction, acknowledged by all in-sync replicas. A topic may be listed once for each of its partitions. */
function prefix(topics: number, timeout: number): Buffer {
  const buffer = Buffer.allocUnsafe(12)
  buffer.writeInt16BE(-1, 0)
  buffer.writeInt16BE(-1, 2)
  buffer.writeInt32BE(timeout, 4)
  buffer.writeInt32BE(topics, 8)
  return buffer
}

export interface ProduceResponse {
  readonly answers: readonly ProduceAnswer[]
  /** The throttle time, ms. */
  readonly throttle: number
}

export function decodeProduce(payload: Buffer, version: number): ProduceResponse {
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
  return { answers, throttle: payload.readInt32BE(at) }
}
