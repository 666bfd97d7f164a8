import { setTimeout as sleep } from 'node:timers/promises'
import { it } from 'vitest'

it('passes, but throws an uncaught exception', async () => {
  setTimeout(() => {
    throw new Error('planted: uncaught exception')
  })
  await sleep(20)
})
