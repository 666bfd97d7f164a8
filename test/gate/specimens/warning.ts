import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { it } from 'vitest'

it('passes, but has more listeners than Node allows', async () => {
  const { signal } = new AbortController()
  setMaxListeners(1, signal)
  for (let listener = 0; listener < 3; listener++) signal.addEventListener('abort', () => {})
  await sleep(20)
})
