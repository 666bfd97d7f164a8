/** How many offsets one array covers. */
const chunkSize = 4_096

/** The offsets of a partition, by the number of their chunk. */
type Chunks = Map<number, Uint32Array>

/**
 * Places of dead letters on a DLQ topic, and the group of each.
 *
 * Memory: at most 4 bytes for each offset between the first and the last, whatever the number of groups and of dead letters.
 */
export class DeadLetterPlaces {
  readonly #groups: string[] = []
  readonly #numbers = new Map<string, number>()
  readonly #counts: number[] = []
  readonly #partitions = new Map<number, Chunks>()

  /** Adds a dead letter. A place has one dead letter: the one that was added last. */
  add(group: string, partition: number, offset: number): void {
    const chunks = this.#partitions.get(partition) ?? new Map<number, Uint32Array>()
    this.#partitions.set(partition, chunks)
    const at = Math.floor(offset / chunkSize)
    let chunk = chunks.get(at)
    if (chunk === undefined) {
      chunk = new Uint32Array(chunkSize)
      chunks.set(at, chunk)
    }
    this.#set(chunk, offset % chunkSize, this.#numberOf(group))
  }

  /** Removes the dead letters of the group at these offsets of a partition, both included. */
  remove(group: string, partition: number, first: number, last: number): void {
    const number = this.#numbers.get(group)
    const chunks = this.#partitions.get(partition)
    if (number === undefined || chunks === undefined) return
    for (const [at, chunk] of chunksWithin(chunks, first, last)) {
      const start = at * chunkSize
      const from = Math.max(0, first - start)
      const to = Math.min(chunkSize - 1, last - start)
      for (let index = from; index <= to; index++) if (chunk[index] === number) this.#set(chunk, index, 0)
    }
  }

  /** Keeps only the first dead letters, by partition and offset. */
  keepFirst(limit: number): void {
    if (limit === Number.POSITIVE_INFINITY) return
    let kept = 0
    for (const { partition, offset, group } of this) if (++kept > limit) this.remove(group, partition, offset, offset)
  }

  /** The group of the dead letter at this place; undefined if there is none. */
  groupAt(partition: number, offset: number): string | undefined {
    const number = this.#partitions.get(partition)?.get(Math.floor(offset / chunkSize))?.[offset % chunkSize] ?? 0
    return number === 0 ? undefined : this.#groups[number - 1]
  }

  /** How many dead letters there are, by group. Groups without one are left out. */
  get counts(): ReadonlyMap<string, number> {
    return new Map(
      this.#groups.map((group, at) => [group, this.#counts[at]!] as const).filter(([, count]) => count > 0),
    )
  }

  /** The first and the last offset of each partition that has dead letters, by partition. */
  get bounds(): ReadonlyMap<number, { readonly first: number; readonly last: number }> {
    const bounds = new Map<number, { readonly first: number; readonly last: number }>()
    for (const partition of sortedKeys(this.#partitions)) {
      const first = edgeOf(this.#partitions.get(partition)!, 'first')
      const last = edgeOf(this.#partitions.get(partition)!, 'last')
      if (first !== undefined && last !== undefined) bounds.set(partition, { first, last })
    }
    return bounds
  }

  /** By partition and offset. */
  *[Symbol.iterator](): Generator<{ readonly partition: number; readonly offset: number; readonly group: string }> {
    for (const partition of sortedKeys(this.#partitions)) {
      for (const [offset, number] of offsetsOf(this.#partitions.get(partition)!)) {
        yield { partition, offset, group: this.#groups[number - 1]! }
      }
    }
  }

  #numberOf(group: string): number {
    const known = this.#numbers.get(group)
    if (known !== undefined) return known
    const number = this.#groups.push(group)
    this.#counts.push(0)
    this.#numbers.set(group, number)
    return number
  }

  #set(chunk: Uint32Array, index: number, number: number): void {
    const before = chunk[index]!
    if (before > 0) this.#counts[before - 1]!--
    if (number > 0) this.#counts[number - 1]!++
    chunk[index] = number
  }
}

/** Ranges in notes come from outside and may be longer than any partition: only chunks with dead letters are visited. */
function* chunksWithin(chunks: Chunks, first: number, last: number): Generator<[at: number, chunk: Uint32Array]> {
  const [from, to] = [Math.floor(first / chunkSize), Math.floor(last / chunkSize)]
  if (to - from >= chunks.size) {
    for (const [at, chunk] of chunks) if (from <= at && at <= to) yield [at, chunk]
    return
  }
  for (let at = from; at <= to; at++) {
    const chunk = chunks.get(at)
    if (chunk !== undefined) yield [at, chunk]
  }
}

function* offsetsOf(chunks: Chunks): Generator<[offset: number, number: number], undefined> {
  for (const at of sortedKeys(chunks)) {
    const chunk = chunks.get(at)!
    for (let index = 0; index < chunkSize; index++) {
      if (chunk[index]! > 0) yield [at * chunkSize + index, chunk[index]!]
    }
  }
}

function edgeOf(chunks: Chunks, which: 'first' | 'last'): number | undefined {
  const isDeadLetter = (number: number) => number > 0
  for (const at of which === 'first' ? sortedKeys(chunks) : sortedKeys(chunks).reverse()) {
    const chunk = chunks.get(at)!
    const index = which === 'first' ? chunk.findIndex(isDeadLetter) : chunk.findLastIndex(isDeadLetter)
    if (index >= 0) return at * chunkSize + index
  }
  return undefined
}

function sortedKeys(map: ReadonlyMap<number, unknown>): number[] {
  return [...map.keys()].sort((one, other) => one - other)
}
