import { fileURLToPath } from 'node:url'
import { it } from 'vitest'
import { spawnStrictly } from '../../strict-process'

it('passes, but its child process warns', async () => {
  const program = fileURLToPath(new URL('warning-program.ts', import.meta.url))
  const { exited } = spawnStrictly(program, [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  await exited
})
