import { asyncScheduler, type SchedulerLike } from 'rxjs'

/**
 * The time a client lives by. Two clocks, because one that can be set measures no durations: an NTP correction, a
 * restored virtual machine or a hand that sets it moves wall time by any amount, in both directions.
 */
export interface Clock {
  /** Runs work later. Its `now()` is not to be read: in real time that is the wall clock. */
  readonly scheduler: SchedulerLike
  /**
   * Whole ms since an arbitrary moment; never goes back, and no setting moves it. For every duration: intervals,
   * time-outs, ages. Goes on while the process is stopped; Linux stops it while the machine is suspended.
   */
  monotonic(): number
  /** ms since 1970, as this machine shows them. For headers, records and reports alone: it may jump at any moment. */
  wall(): number
}

/** What a driver says of time. */
export interface TimeSource {
  readonly scheduler?: SchedulerLike
  wallTime?(): number
}

/** Real time. */
export const systemClock: Clock = {
  scheduler: asyncScheduler,
  monotonic: () => Math.trunc(performance.now()),
  wall: () => Date.now(),
}

/** The clock of what runs on a driver: virtual where its scheduler is, real otherwise. */
export function clockOf(source: TimeSource): Clock {
  const scheduler = source.scheduler ?? asyncScheduler
  const time: Pick<Clock, 'monotonic' | 'wall'> = isReal(scheduler)
    ? systemClock
    : { monotonic: () => scheduler.now(), wall: () => scheduler.now() }
  const { monotonic, wall } = time
  return { scheduler, monotonic, wall: source.wallTime === undefined ? wall : () => source.wallTime!() }
}

/**
 * RxJS's schedulers of real time show the wall clock, all by the same function. Within `TestScheduler.run` that function
 * shows virtual frames instead, and what is made there lives in them.
 */
function isReal(scheduler: SchedulerLike): boolean {
  return scheduler.now === asyncScheduler.now && Math.abs(scheduler.now() - Date.now()) < 1_000
}
