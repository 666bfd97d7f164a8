const first = 50
const longest = 1_000

/**
 * How long to wait after so many failures in a row, ms: 50 at first, 1,000 at most, and up to a fifth less, so that those
 * whom one outage stopped do not come back in step.
 */
export function backoff(failures: number): number {
  return Math.ceil(Math.min(first * 2 ** Math.min(failures, 16), longest) * (1 - Math.random() / 5))
}
