import type { Measurement } from './row.js'
import { touch } from './touch.js'

/** The column of the clock that starts with the first record. */
export const fromFirst = '1000/s from the first record'

/**
 * Counts records and touches each value, as every real handler does.
 *
 * There are two clocks. One starts when a consumer has its partitions: a client that fetches much before it hands out
 * anything is seen by it. The other starts with the first record: what joining and the first fetch take does not blur a
 * short run by it.
 */
export class Meter {
  #seen = 0
  #bytes = 0
  #began = 0
  #first = 0
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
    if (this.#seen === 0) {
      this.start()
      this.#first = performance.now()
    }
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
    return {
      '1000/s': this.records / (this.#ended - this.#began),
      [fromFirst]: this.records / (this.#ended - this.#first),
      'RSS, MiB': this.#rss / 2 ** 20,
    }
  }
}
