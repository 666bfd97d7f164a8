const first = 50
const longest = 1_000

/**
 * The delay after this many failures in a row: 50 ms at first, 1,000 ms at most, minus up to a fifth at random, so that
 * clients do not return at the same time after an outage.
 */
export function backoff(failures: number): number {
  return Math.ceil(Math.min(first * 2 ** Math.min(failures, 16), longest) * (1 - Math.random() / 5))
}

/** This many failures in a row take a second and a half: longer than a leader election. */
export const lastingFailures = 5
