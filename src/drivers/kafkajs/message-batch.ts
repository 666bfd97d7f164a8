import type { KafkaMessage } from 'kafkajs'
import type { HeaderPair, RecordBatch } from '../../record-batch.js'

/** Records as kafkajs decodes them: at once, and without the order of headers of different names. */
export class MessageBatch implements RecordBatch {
  #byteLength: number | undefined

  constructor(
    readonly messages: readonly KafkaMessage[],
    readonly lastOffset: number,
  ) {}

  get count(): number {
    return this.messages.length
  }

  get byteLength(): number {
    this.#byteLength ??= this.messages.reduce(
      (sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0),
      0,
    )
    return this.#byteLength
  }

  offset(index: number): number {
    return Number(this.#at(index).offset)
  }

  timestamp(index: number): number {
    return Number(this.#at(index).timestamp)
  }

  key(index: number): Buffer | null {
    return this.#at(index).key
  }

  value(index: number): Buffer | null {
    return this.#at(index).value
  }

  headers(index: number): readonly HeaderPair[] {
    return Object.entries(this.#at(index).headers ?? {}).flatMap(([name, value]) =>
      // kafkajs finds a member of Object's prototype under a name such as `constructor`, and keeps it as a first value.
      (Array.isArray(value) ? value : [value])
        .filter(one => Buffer.isBuffer(one) || one === null)
        .map((one): HeaderPair => [name, one as Buffer | null]),
    )
  }

  copy(index: number): RecordBatch {
    const message = this.#at(index)
    const headers = Object.fromEntries(
      Object.entries(message.headers ?? {}).map(([name, value]) => [
        name,
        Array.isArray(value) ? value.map(one => copied(one as Buffer)) : copied(value as Buffer),
      ]),
    )
    const copy = { ...message, key: copied(message.key), value: copied(message.value), headers }
    return new MessageBatch([copy as unknown as KafkaMessage], Number(message.offset))
  }

  #at(index: number): KafkaMessage {
    const message = this.messages[index]
    if (message === undefined) throw new RangeError(`record ${index} of a batch of ${this.count}`)
    return message
  }
}

function copied<T>(value: T): T {
  return Buffer.isBuffer(value) ? (Buffer.from(value) as T) : value
}
