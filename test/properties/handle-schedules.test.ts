import fc from 'fast-check'
import { describe, it } from 'vitest'
import { plans, play } from './handle-schedule.js'

const runs = Number(process.env.RXMIKA_HISTORIES ?? 1_000)
const seed = Number(process.env.RXMIKA_SEED ?? 1)

describe('handle under random schedules', () => {
  it('loses nothing, keeps its order, never waits in vain, and closes', {
    timeout: 600_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(plans, async plan => {
        const { broken, log } = await play(plan)
        if (broken.length > 0) throw new Error([broken[0], ...log].join('\n'))
      }),
      { numRuns: runs, seed },
    )
  })
})
