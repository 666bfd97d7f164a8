import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { PackedPackage } from '../package/packed'
import { compiler, installCompilers, type Version, versions } from './compilers'

const fixture = (name: string) => fileURLToPath(new URL(`../package/fixtures/${name}.ts`, import.meta.url))

/** How TypeScript finds packages, by `moduleResolution`: the other options that it needs, and the possible formats. */
const resolutions = {
  node16: { options: ['--module', 'node16'], formats: ['mts', 'cts'] },
  nodenext: { options: ['--module', 'nodenext'], formats: ['mts', 'cts'] },
  bundler: { options: ['--module', 'esnext'], formats: ['ts'] },
  // Pino's declarations need `esModuleInterop`.
  node10: { options: ['--module', 'commonjs', '--esModuleInterop'], formats: ['ts'] },
} as const
type Resolution = keyof typeof resolutions

const strictly = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--skipLibCheck', 'false']
const target = ['--target', 'es2022', '--lib', 'es2022,esnext.disposable', '--types', 'node', '--noEmit']

/** TypeScript 6 needs another option for node10, and TypeScript 7 does not have it. */
function optionsOf(version: Version, resolution: Resolution): readonly string[] {
  const deprecated = version === '6.0' && resolution === 'node10' ? ['--ignoreDeprecations', '6.0'] : []
  return ['--moduleResolution', resolution, ...resolutions[resolution].options, ...deprecated, ...strictly, ...target]
}

let packed: PackedPackage

beforeAll(async () => {
  const [made] = await Promise.all([PackedPackage.make(inject('tarball')), installCompilers()])
  packed = made
  for (const format of ['ts', 'mts', 'cts']) {
    await cp(fixture('types'), join(packed.project, `types.${format}`))
    await cp(fixture('program'), join(packed.project, `program.${format}`))
  }
}, 300_000)
afterAll(() => packed?.remove())

describe.each(versions)('TypeScript %s', { timeout: 120_000 }, version => {
  const known = (Object.keys(resolutions) as Resolution[]).filter(name => !(version === '7.0' && name === 'node10'))

  it.each(known)('compiles user code with moduleResolution %s', async resolution => {
    const { formats } = resolutions[resolution]
    const programs = formats.flatMap(format => [`types.${format}`, `program.${format}`])
    await packed.compileBy(await compiler(version), [...optionsOf(version, resolution), ...programs])
  })

  it('refuses wrong code, so that the other tests mean something', async () => {
    const wrong = join(packed.project, 'wrong.mts')
    await writeFile(wrong, "import { createClient } from 'rxmika'\ncreateClient({ groupId: 'billing' })\n")
    const compiled = packed.compileBy(await compiler(version), [...optionsOf(version, 'nodenext'), 'wrong.mts'])
    await expect(compiled).rejects.toThrow(/wrong\.mts.*groupId/)
  })
})
