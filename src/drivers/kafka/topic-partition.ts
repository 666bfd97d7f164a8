export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** Groups partitions by topic, in their order. Topics are names from outside, so they are keys of a `Map`. */
export function byTopic<T extends TopicPartition>(partitions: Iterable<T>): ReadonlyMap<string, readonly T[]> {
  const topics = new Map<string, T[]>()
  for (const each of partitions) {
    const before = topics.get(each.topic)
    if (before === undefined) topics.set(each.topic, [each])
    else before.push(each)
  }
  return topics
}

/** A map with partitions as keys. */
export class PartitionMap<T> {
  readonly #topics = new Map<string, Map<number, T>>()
  #size = 0

  static of<T extends TopicPartition>(items: Iterable<T>): PartitionMap<T> {
    const map = new PartitionMap<T>()
    for (const item of items) map.set(item, item)
    return map
  }

  get size(): number {
    return this.#size
  }

  get({ topic, partition }: TopicPartition): T | undefined {
    return this.#topics.get(topic)?.get(partition)
  }

  has(place: TopicPartition): boolean {
    return this.get(place) !== undefined
  }

  set({ topic, partition }: TopicPartition, value: T): void {
    let partitions = this.#topics.get(topic)
    if (partitions === undefined) {
      partitions = new Map()
      this.#topics.set(topic, partitions)
    }
    if (!partitions.has(partition)) this.#size++
    partitions.set(partition, value)
  }

  delete({ topic, partition }: TopicPartition): void {
    const partitions = this.#topics.get(topic)
    if (partitions?.delete(partition) !== true) return
    this.#size--
    if (partitions.size === 0) this.#topics.delete(topic)
  }

  of(topic: string): ReadonlyMap<number, T> | undefined {
    return this.#topics.get(topic)
  }

  *entries(): Generator<[TopicPartition, T]> {
    for (const [topic, partitions] of this.#topics) {
      for (const [partition, value] of partitions) yield [{ topic, partition }, value]
    }
  }

  *values(): Generator<T> {
    for (const partitions of this.#topics.values()) yield* partitions.values()
  }
}
