import type { HeaderPair, RecordBatch } from '../../../record-batch.js'

/** A message as kafkajs decodes it, as far as it is read here. */
export interface DecodedMessage {
  /** The format: 0 or 1. */
  readonly magicByte: number
  readonly offset: string
  /** Absent in the oldest format. */
  readonly timestamp?: string
  readonly key: Buffer | null
  readonly value: Buffer | null
}

/** Records of the formats before Kafka 0.11's, which had no headers: kafkajs has decoded them. Never empty. */
export class MessageSetBatch implements RecordBatch {
  constructor(private readonly messages: readonly DecodedMessage[]) {}

  get count(): number {
    return this.messages.length
  }

  get lastOffset(): number {
    return this.offset(this.count - 1)
  }

  get byteLength(): number {
    return this.messages.reduce((sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0), 0)
  }

  offset(index: number): number {
    return Number(this.#at(index).offset)
  }

  timestamp(index: number): number {
    return Number(this.#at(index).timestamp ?? -1)
  }

  key(index: number): Buffer | null {
    return this.#at(index).key
  }

  value(index: number): Buffer | null {
    return this.#at(index).value
  }

  headers(index: number): readonly HeaderPair[] {
    this.#at(index)
    return []
  }

  copy(index: number): MessageSetBatch {
    const message = this.#at(index)
    return new MessageSetBatch([{ ...message, key: own(message.key), value: own(message.value) }])
  }

  #at(index: number): DecodedMessage {
    const message = this.messages[index]
    if (message === undefined) throw new RangeError(`record ${index} of a batch of ${this.count}`)
    return message
  }
}

function own(bytes: Buffer | null): Buffer | null {
  if (bytes === null) return null
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(copy)
  return copy
}
