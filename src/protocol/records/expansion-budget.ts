/** What the batches of one fetch answer may expand to before decoding stops: eight times the largest answer. */
const DEFAULT_BYTES = 32 * 1024 * 1024

/**
 * How much compressed batches may expand to, together. Compressed bytes are bounded by what was asked for, and what they
 * expand to by nothing: one MiB of gzip can be a GiB of records.
 *
 * The size of a batch is known only once it is decompressed. So a budget may be exceeded by its last batch, which is at
 * most `LARGEST_BATCH`, and the first batch always fits.
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
