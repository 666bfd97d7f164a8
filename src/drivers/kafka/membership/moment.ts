import type { Clock } from '../../../clock.js'

/** A moment, by both clocks. */
export interface Moment {
  readonly monotonic: number
  readonly wall: number
}

export function momentOf(clock: Clock): Moment {
  return { monotonic: clock.monotonic(), wall: clock.wall() }
}

/**
 * How long ago the moment may be, ms: what the clock says that counts more. For silences after which a broker gives up on
 * us, where too long costs a question and too short costs records. Linux stops the monotonic clock while a machine is
 * suspended, and a virtual machine that was paused or restored has only its wall clock to tell; set forward for any other
 * reason, the wall clock raises a false alarm.
 */
export function longestSince(moment: Moment, clock: Clock): number {
  return Math.max(clock.monotonic() - moment.monotonic, clock.wall() - moment.wall)
}
