import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, inject, it } from 'vitest'
import { compileAll, exampleNames } from './installed'

describe('the examples', () => {
  it('are each run by a file of their own', async () => {
    const names = await exampleNames()
    expect(names).toContain('orders')
    const notRun = names.filter(name => !existsSync(new URL(`./${name}.test.ts`, import.meta.url)))
    expect(notRun).toEqual([])
  })

  it('compile, each with the options of its own tsconfig.json', { timeout: 180_000 }, async () => {
    const folder = inject('examples')
    await compileAll(folder)
    // A mistake is found, or the line above says nothing.
    const wrong = join(folder, 'orders/src/wrong.ts')
    await writeFile(wrong, "import { createClient } from 'rxmika'\ncreateClient({ groupId: 'billing' })\n")
    await expect(compileAll(folder)).rejects.toThrow(/wrong\.ts.*groupId/)
  })
})
