/** A record batch as a leader sees it: producer, sequence numbers and records. */
export interface SentBatch {
  readonly producerId: bigint
  readonly epoch: number
  readonly first: number
  readonly count: number
  readonly values: readonly (string | null)[]
}

export interface StoredBatch extends SentBatch {
  readonly base: number
}

/** The part of a batch that a log keeps to detect repetitions. */
export type ProducedBatch = Pick<StoredBatch, 'producerId' | 'epoch' | 'first' | 'count' | 'base'>

const remembered = 5
const none = -1n

export type Appended =
  | { readonly code: 0; readonly base: number; readonly duplicate: boolean }
  | { readonly code: number }

/**
 * Returns undefined if a log accepts a batch, or the answer if it does not. The rules are those of Kafka's `ProducerStateManager`
 * and `ProducerAppendInfo`: a repetition is detected by its epoch and its first and last sequence number among the last five
 * batches, never by content.
 */
export function refusalOf(
  { producerId, epoch, first, count }: Omit<ProducedBatch, 'base'>,
  batches: readonly ProducedBatch[],
): Appended | undefined {
  if (producerId === none) return undefined
  const own = batches.filter(stored => stored.producerId === producerId)
  const newest = own.at(-1)
  const repeated = own
    .slice(-remembered)
    .find(stored => stored.epoch === epoch && stored.first === first && stored.count === count)
  if (repeated !== undefined && newest!.epoch === epoch) return { code: 0, base: repeated.base, duplicate: true }
  if (newest === undefined) return undefined
  if (epoch < newest.epoch) return { code: 47 }
  if (epoch > newest.epoch) return first === 0 ? undefined : { code: 45 }
  return first === next(newest) ? undefined : { code: 45 }
}

function next({ first, count }: ProducedBatch): number {
  return (first + count) % 2 ** 31
}

/** One replica's log. */
export class Replica {
  #batches: StoredBatch[] = []

  get batches(): readonly StoredBatch[] {
    return this.#batches
  }

  get end(): number {
    const last = this.#batches.at(-1)
    return last === undefined ? 0 : last.base + last.count
  }

  /** Every record, by its offset. */
  get values(): (string | null)[] {
    return this.#batches.flatMap(({ values }) => values)
  }

  append(batch: SentBatch): Appended {
    const refusal = refusalOf(batch, this.#batches)
    if (refusal !== undefined) return refusal
    const base = this.end
    this.#batches.push({ ...batch, base })
    return { code: 0, base, duplicate: false }
  }

  /** Copies the state of another replica, as a follower does. */
  follow(leader: Replica): void {
    this.#batches = [...leader.#batches]
  }
}
