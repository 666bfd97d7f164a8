import { setTimeout as sleep } from 'node:timers/promises'
import { median } from './median.js'
import type { Measurement } from './row.js'

/** For how long each contender works on the backlog, s. */
export const seconds = 20

/** Samples the memory ten times a second for `seconds`. `growth` is the median of the last quarter minus that of the second. */
export async function measureMemory(handled: () => number): Promise<Measurement> {
  const rss: number[] = []
  const began = performance.now()
  while (performance.now() - began < seconds * 1_000) {
    await sleep(100)
    rss.push(process.memoryUsage.rss() / 2 ** 20)
  }
  const quarter = Math.floor(rss.length / 4)
  const growth = median(rss.slice(3 * quarter)) - median(rss.slice(quarter, 2 * quarter))
  return { 'RSS, MiB': Math.max(...rss), 'growth, MiB': growth, 'handled, 1/s': handled() / seconds }
}
