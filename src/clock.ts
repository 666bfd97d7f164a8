import { asyncScheduler, type SchedulerLike } from 'rxjs'

/**
 * The time of a client. It has two clocks, because a clock that can be set cannot measure durations: an NTP correction, a
 * restored virtual machine or an operator can move wall time by any amount, in both directions.
 */
export interface Clock {
  /** Runs work later. Do not read its `now()`: in real time that is the wall clock. */
  readonly scheduler: SchedulerLike
  /**
   * Whole ms since an arbitrary moment. Never goes back, and setting the clock does not move it. For every duration:
   * intervals, time-outs, ages. It runs on while the process is stopped; on Linux it stops while the machine is suspended.
   */
  monotonic(): number
  /** ms since 1970, by the clock of this machine. Only for headers, records and reports: it may jump at any moment. */
  wall(): number
}

/** The parts of a driver that define time. */
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

/** The clock of a driver: virtual if its scheduler is, real otherwise. */
export function clockOf(source: TimeSource): Clock {
  const scheduler = source.scheduler ?? asyncScheduler
  const time: Pick<Clock, 'monotonic' | 'wall'> = isReal(scheduler)
    ? systemClock
    : { monotonic: () => scheduler.now(), wall: () => scheduler.now() }
  const { monotonic, wall } = time
  return { scheduler, monotonic, wall: source.wallTime === undefined ? wall : () => source.wallTime!() }
}

/**
 * RxJS's real-time schedulers all return the wall clock, from one shared function. Within `TestScheduler.run` that function
 * returns virtual frames instead, so a clock made there is virtual.
 */
function isReal(scheduler: SchedulerLike): boolean {
  return scheduler.now === asyncScheduler.now && Math.abs(scheduler.now() - Date.now()) < 1_000
}
