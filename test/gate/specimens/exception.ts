import { setTimeout as sleep } from 'node:timers/promises'
import { it } from 'vitest'

it('passes, and throws where nobody catches it', async () => {
  setTimeout(() => {
    throw new Error('planted: uncaught exception')
  })
  await sleep(20)
})
