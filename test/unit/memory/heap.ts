import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

/** Bytes of objects and buffers that are in use once everything that can be collected is. */
async function inUse(): Promise<number> {
  // What finalizers and promises of the last turn still hold goes with the next.
  for (let round = 0; round < 3; round++) {
    await setImmediate()
    collectGarbage()
  }
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
}

/** What is kept for each cycle is kept in every measurement; a compiler's work is not in so many. */
const measurements = 6

/**
 * How many bytes each cycle leaves behind, after as many cycles in which caches have their fill: the least of several
 * measurements, which end as soon as one of them finds less than `enough`.
 *
 * @param enough Bytes that a cycle may leave behind: less than the least object that could be kept for each.
 */
export async function leftPerCycle(
  cycles: number,
  enough: number,
  cycle: (at: number) => Promise<void>,
): Promise<number> {
  let at = 0
  const run = async () => {
    for (let end = at + cycles; at < end; at++) await cycle(at)
  }
  await run()
  let before = await inUse()
  let least = Number.POSITIVE_INFINITY
  for (let measured = 0; measured < measurements && least >= enough; measured++) {
    await run()
    const after = await inUse()
    least = Math.min(least, (after - before) / cycles)
    before = after
  }
  return least
}
