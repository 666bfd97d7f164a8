import { setImmediate } from 'node:timers/promises'
import { collectGarbage } from '../../collect-garbage'

/** Bytes of objects and buffers that are in use after garbage collection. */
async function inUse(): Promise<number> {
  // Finalizers and promises of the last turn keep objects that only the next collection frees.
  for (let round = 0; round < 3; round++) {
    await setImmediate()
    collectGarbage()
  }
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
}

/**
 * A leak is in every measurement. The memory of the compiler is not, and weighs less in a longer one: each measurement has
 * twice the cycles of the one before.
 */
const measurements = 6

/**
 * How many bytes each cycle leaves behind, after enough cycles to fill all caches: the minimum of several
 * measurements, which end as soon as one of them finds less than `enough`.
 *
 * @param cycles The cycles of the first measurement.
 * @param enough Bytes that a cycle may leave behind: less than the smallest object that could leak in each cycle.
 */
export async function leftPerCycle(
  cycles: number,
  enough: number,
  cycle: (at: number) => Promise<void>,
): Promise<number> {
  let at = 0
  const run = async (count: number) => {
    for (let end = at + count; at < end; at++) await cycle(at)
  }
  await run(cycles)
  let before = await inUse()
  let least = Number.POSITIVE_INFINITY
  for (let measured = 0; measured < measurements && least >= enough; measured++) {
    const count = cycles * 2 ** measured
    await run(count)
    const after = await inUse()
    least = Math.min(least, (after - before) / count)
    before = after
  }
  return least
}
