/** The bounds of one partition's share of an answer, in bytes. */
export const minPartitionBytes = 64 * 1024
export const maxPartitionBytes = 1024 * 1024

const growth = 4
const shrinkage = 2

/** A fetch is too small if its records keep the pipeline busy for less than this time, ms, or than this many requests take. */
const minPause = 50
const minRequests = 4
/** A fetch is too large if fetching then pauses this many times as long. More than `growth`, so that the size does not swing. */
const slow = 5

/**
 * How many bytes of a partition are requested at a time: so many that the pipeline is busy while the next are fetched, and no
 * more than that. What waits in memory is fetched again by another member if the partition moves, and outlives the garbage
 * collections that are cheap.
 *
 * Fetching pauses while more than half of what was fetched waits. So the length of a pause shows how long the pipeline takes.
 */
export class FetchSize {
  #bytes = minPartitionBytes
  /** When fetching was paused; undefined while it is not. */
  #pausedAt: number | undefined
  /** Fetching was paused since the latest answer. */
  #wasPaused = false
  /** How long the latest request took, ms. */
  #took = 0

  get bytes(): number {
    return this.#bytes
  }

  pause(now: number): void {
    this.#pausedAt ??= now
  }

  resume(now: number): void {
    if (this.#pausedAt === undefined) return
    this.#adapt(now - this.#pausedAt)
    this.#pausedAt = undefined
    this.#wasPaused = true
  }

  /** Records were fetched by a request that took so many ms. */
  answered(took: number): void {
    this.#took = took
    if (this.#pausedAt === undefined && !this.#wasPaused) this.#adapt(0)
    this.#wasPaused = false
  }

  #adapt(pause: number): void {
    const shortest = Math.max(minPause, minRequests * this.#took)
    if (pause < shortest) this.#bytes = Math.min(this.#bytes * growth, maxPartitionBytes)
    else if (pause > slow * shortest) this.#bytes = Math.max(this.#bytes / shrinkage, minPartitionBytes)
  }
}
