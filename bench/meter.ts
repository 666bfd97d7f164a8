import type { Measurement } from './row.js'
import { touch } from './touch.js'

/**
 * Counts records and touches each value, as every real handler does.
 *
 * A consumer's clock starts when it has its partitions, and not with the first record: a whole fetch is decoded by then,
 * which is many records where they are compressed.
 */
export class Meter {
  #seen = 0
  #bytes = 0
  #began = 0
  #ended = 0
  #rss = 0
  readonly done: Promise<void>
  #finish!: () => void

  constructor(readonly records: number) {
    this.done = new Promise(resolve => {
      this.#finish = resolve
    })
  }

  /** Once. The first record does it too. */
  start(): void {
    if (this.#began === 0) this.#began = performance.now()
  }

  see(value: Buffer | null): void {
    if (this.#seen === 0) this.start()
    this.#bytes += touch(value)
    this.#seen++
    if ((this.#seen & 0xffff) === 0) this.#rss = Math.max(this.#rss, process.memoryUsage.rss())
    if (this.#seen === this.records) {
      this.#ended = performance.now()
      this.#rss = Math.max(this.#rss, process.memoryUsage.rss())
      this.#finish()
    }
  }

  get measurement(): Measurement {
    return { '1000/s': this.records / (this.#ended - this.#began), 'RSS, MiB': this.#rss / 2 ** 20 }
  }
}
