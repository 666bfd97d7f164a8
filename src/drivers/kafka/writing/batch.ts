import type { Outgoing } from '../../../outgoing.js'
import {
  type BatchBody,
  type EncodableRecord,
  RecordBatchBuilder,
  recordsOf,
} from '../../../protocol/records/record-batch-builder.js'
import { type ProducerSequence, sealed } from '../../../protocol/records/record-batch-encoder.js'

/** Records of one partition that are sent together, under one sequence number. Only their bytes are kept. */
export class Batch {
  /**
   * True: an attempt may be in the log, now or later, under the partition's present identity and sequence. Every attempt
   * without a clear answer sets it. A later refusal does not clear it, because it says nothing about the first attempt.
   */
  mayBeWritten = false
  /** The bytes to send under the partition's present identity and sequence. */
  #sealed: Buffer | undefined
  #wasSealed = false
  #outgoings: readonly Outgoing[]
  #body: BatchBody

  constructor(
    outgoings: readonly Outgoing[],
    body: BatchBody,
    readonly compression: 'gzip' | undefined,
  ) {
    this.#outgoings = outgoings
    this.#body = body
  }

  get outgoings(): readonly Outgoing[] {
    return this.#outgoings
  }

  get size(): number {
    return this.#outgoings.length
  }

  /** The bytes to send; the same until `unseal`. */
  seal(sequence: ProducerSequence): Buffer {
    if (this.#sealed === undefined) {
      // Copied, because the bytes sent before may still be in a socket's queue.
      if (this.#wasSealed) this.#body = { ...this.#body, bytes: Buffer.from(this.#body.bytes) }
      this.#sealed = sealed(this.#body, sequence, this.compression)
      this.#wasSealed = true
    }
    return this.#sealed
  }

  /** Called when the partition gets another identity or sequence. */
  unseal(): void {
    this.mayBeWritten = false
    this.#sealed = undefined
  }

  /** Removes records that are not wanted any more. Only for a batch that cannot be in the log. */
  dropUnwanted(): readonly Outgoing[] {
    const outgoings = this.#outgoings
    if (outgoings.every(({ wanted }) => wanted)) return []
    const kept = outgoings.map(({ wanted }) => wanted)
    const dropped = outgoings.filter((_, at) => !kept[at])
    this.#outgoings = outgoings.filter((_, at) => kept[at])
    if (this.size > 0) this.#body = bodyOf(recordsOf(this.#body).filter((_, at) => kept[at]))
    this.#sealed = undefined
    this.#wasSealed = false
    return dropped
  }

  halves(): [Batch, Batch] {
    const middle = Math.ceil(this.size / 2)
    const records = recordsOf(this.#body)
    const half = (from: number, end: number) =>
      new Batch(this.#outgoings.slice(from, end), bodyOf(records.slice(from, end)), this.compression)
    return [half(0, middle), half(middle, this.size)]
  }
}

function bodyOf(records: readonly EncodableRecord[]): BatchBody {
  const builder = new RecordBatchBuilder()
  for (const record of records) builder.add(record)
  return builder.build()!
}
