import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, inject, it } from 'vitest'
import { compileAll, exampleNames } from './installed'

describe('the examples', () => {
  it('are each run by their own test file', async () => {
    const names = await exampleNames()
    expect(names).toContain('orders')
    const notRun = names.filter(name => !existsSync(new URL(`./${name}.test.ts`, import.meta.url)))
    expect(notRun).toEqual([])
  })

  it('compile, each with the options of its own tsconfig.json', { timeout: 180_000 }, async () => {
    const folder = inject('examples')
    // One of them has a mistake that must be found, so an empty list of errors means something.
    const wrong = join(folder, 'orders/src/wrong.ts')
    await writeFile(wrong, "import { createClient } from 'rxmika'\ncreateClient({ groupId: 'billing' })\n")
    const errors = await compileAll(folder)
    await rm(wrong)
    expect(errors).toEqual([expect.stringMatching(/^orders\/src\/wrong\.ts.*groupId/)])
  })
})
