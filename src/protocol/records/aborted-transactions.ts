import type { BatchHeader } from './batch-header.js'

export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
}

/**
 * Which batches of one fetched partition were rolled back.
 *
 * The broker lists the aborted transactions that touch what it sends, each by its producer and first offset, but not
 * where they end: a marker in the log says so. A producer has one transaction at a time, so from the first offset to
 * the marker all its transactional batches are part of it. The same way as in the Java client (`CompletedFetch`).
 */
export class AbortedTransactions {
  readonly #ahead: AbortedTransaction[]
  readonly #open = new Set<number>()

  constructor(aborted: readonly AbortedTransaction[]) {
    // The next one last.
    this.#ahead = aborted.toSorted((a, b) => b.firstOffset - a.firstOffset)
  }

  /** Whether the batch belongs to an aborted transaction; to be asked of every batch, in the order of the log. */
  contain(batch: BatchHeader): boolean {
    if (batch.producerId < 0) return false
    for (let first = this.#ahead.at(-1); first && first.firstOffset <= batch.lastOffset; first = this.#ahead.at(-1)) {
      this.#open.add(first.producerId)
      this.#ahead.pop()
    }
    return (batch.isTransactional || batch.isControl) && this.#open.has(batch.producerId)
  }

  /** The producer's abort marker was met. */
  end(producerId: number): void {
    this.#open.delete(producerId)
  }
}
