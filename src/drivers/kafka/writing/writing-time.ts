import type { SchedulerLike } from 'rxjs'

/** The time of writing. */
export interface WritingTime {
  readonly scheduler: SchedulerLike
  /** For durations, ms. */
  readonly monotonic: () => number
  /** For records without a timestamp, ms since 1970. */
  readonly wall: () => number
  /** Runs the work in another turn, before any timer. */
  soon(work: () => void): void
}
