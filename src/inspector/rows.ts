import { partitionName } from '../place.js'

/** Partitions that a picture has rows for; those beyond have none. */
const maxRows = 10_000

/** Numbers for partitions, so that a mark is a few digits; by topic and partition, so that none is made a text per record. */
export class Rows {
  readonly names: string[] = []
  readonly #byTopic = new Map<string, (number | undefined)[]>()

  /** The row of a partition; -1: there are too many. */
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
