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
 * The longest time that may have passed since the moment, ms: by the clock that shows more. It is used for silences after which
 * a broker gives up this client: assuming too much costs one request, assuming too little costs records. On Linux the monotonic
 * clock stops while the machine is suspended, and in a virtual machine that was paused or restored only the wall clock shows
 * it. If the wall clock is set forward for another reason, that is a false alarm.
 */
export function longestSince(moment: Moment, clock: Clock): number {
  return Math.max(clock.monotonic() - moment.monotonic, clock.wall() - moment.wall)
}
