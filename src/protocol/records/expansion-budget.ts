/** How many bytes the batches of one fetch response may expand to before decoding stops: eight times the largest response. */
const DEFAULT_BYTES = 32 * 1024 * 1024

/**
 * Limits how many bytes the compressed batches of a response expand to, in total. The request limits compressed bytes only:
 * one MiB of gzip can be a GiB of records.
 *
 * The size of a batch is known only after decompression. So the last batch may exceed the budget, by at most
 * `LARGEST_BATCH`, and the first batch always fits.
 */
export class ExpansionBudget {
  #left: number

  constructor(bytes = DEFAULT_BYTES) {
    this.#left = bytes
  }

  get isSpent(): boolean {
    return this.#left <= 0
  }

  spend(bytes: number): void {
    this.#left -= bytes
  }
}
