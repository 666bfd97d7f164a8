import { partitionName } from '../place.js'

/** Limit on partitions with a row. Further partitions are not shown. */
const maxRows = 10_000

/**
 * Numbers partitions, so that a mark in a message is a few digits. The look-up is by topic and partition, because building the
 * partition's name would cost time per record.
 */
export class Rows {
  readonly names: string[] = []
  readonly #byTopic = new Map<string, (number | undefined)[]>()

  /** Returns the number of the partition's row, or -1 if all rows are used. */
  of(topic: string, partition: number): number {
    let rows = this.#byTopic.get(topic)
    const known = rows?.[partition]
    if (known !== undefined) return known
    if (this.names.length >= maxRows) return -1
    if (rows === undefined) {
      rows = []
      this.#byTopic.set(topic, rows)
    }
    rows[partition] = this.names.length
    return this.names.push(partitionName({ topic, partition })) - 1
  }
}
