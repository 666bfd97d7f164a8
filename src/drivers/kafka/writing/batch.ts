import type { EncodableRecord } from '../../../encodable-record.js'
import type { Outgoing } from '../../../outgoing.js'

/** Records that go to a partition together, under one sequence number. */
export class Batch {
  /**
   * An attempt may be in the log, now or later, under the identity and sequence that the partition has at present. Set by
   * every attempt without a clear answer. No later refusal clears it: a refused repetition says nothing of the first.
   */
  mayBeWritten = false
  /** As they were encoded for the identity and sequence that the partition has at present. */
  bytes: Buffer | undefined
  compression: 'gzip' | undefined

  constructor(
    public outgoings: Outgoing[] = [],
    public records: EncodableRecord[] = [],
  ) {}

  get size(): number {
    return this.outgoings.length
  }

  /** Leaves out what nobody wants any more; for a batch of which nothing can be in the log. */
  dropUnwanted(): readonly Outgoing[] {
    const { outgoings, records } = this
    if (outgoings.every(({ wanted }) => wanted)) return []
    const dropped = outgoings.filter(({ wanted }) => !wanted)
    const kept = new Set(outgoings.filter(({ wanted }) => wanted))
    this.records = records.filter((_, at) => kept.has(outgoings[at]!))
    this.outgoings = [...kept]
    this.bytes = undefined
    return dropped
  }

  halves(): [Batch, Batch] {
    const middle = Math.ceil(this.size / 2)
    return [
      new Batch(this.outgoings.slice(0, middle), this.records.slice(0, middle)),
      new Batch(this.outgoings.slice(middle), this.records.slice(middle)),
    ]
  }
}
