import type { BatchHeader } from './batch-header.js'

export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
}

/**
 * Tells which batches of one fetched partition were aborted.
 *
 * The broker lists the aborted transactions in what it sends, each with its producer and first offset. It does not say where
 * they end: a marker in the log does. A producer has one transaction at a time, so all of its transactional batches from the
 * first offset to the marker belong to it. The Java client does the same (`CompletedFetch`).
 */
export class AbortedTransactions {
  readonly #ahead: AbortedTransaction[]
  readonly #open = new Set<number>()

  constructor(aborted: readonly AbortedTransaction[]) {
    // In descending order, so that the next one is last.
    this.#ahead = aborted.toSorted((a, b) => b.firstOffset - a.firstOffset)
  }

  /** Whether the batch belongs to an aborted transaction. Must be called for every batch, in the order of the log. */
  contain(batch: BatchHeader): boolean {
    if (batch.producerId < 0) return false
    for (let first = this.#ahead.at(-1); first && first.firstOffset <= batch.lastOffset; first = this.#ahead.at(-1)) {
      this.#open.add(first.producerId)
      this.#ahead.pop()
    }
    return (batch.isTransactional || batch.isControl) && this.#open.has(batch.producerId)
  }

  /** Called at the producer's abort marker. */
  end(producerId: number): void {
    this.#open.delete(producerId)
  }
}
