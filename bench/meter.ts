import type { Measurement } from './row.js'
import { touch } from './touch.js'

/** The column for the clock that starts with the first record. */
export const fromFirst = '1000/s from the first record'

/**
 * Counts records and touches each value, as every real handler does.
 *
 * There are two clocks. The first starts when the consumer is assigned its partitions, so it includes the time of the first
 * fetch; a client that fetches much before it delivers anything is slow by this clock. The second starts with the first
 * record, so that a short run can be compared without the time for joining and the first fetch.
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

  /** Starts the first clock. Later calls have no effect. The first record starts it too. */
  start(): void {
    if (this.#began === 0) this.#began = performance.now()
  }

  count(value: Buffer | null): void {
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
