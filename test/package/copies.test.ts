import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { PackedPackage } from './packed'

const program = fileURLToPath(new URL('fixtures/copies.mjs', import.meta.url))

let packed: PackedPackage

beforeAll(async () => {
  packed = await PackedPackage.make(inject('tarball'))
  await cp(program, join(packed.project, 'copies.mjs'))
  // Bundled like a third party's bundle: the whole library in one file, with shortened names.
  await build({
    absWorkingDir: packed.project,
    stdin: {
      contents: "export * from 'rxmika'; export * from 'rxmika/testing'",
      resolveDir: packed.project,
    },
    bundle: true,
    minify: true,
    platform: 'node',
    format: 'cjs',
    external: ['rxjs', 'pino', 'kafkajs'],
    outfile: join(packed.project, 'bundled', 'rxmika.cjs'),
  })
  await cp(join(packed.project, 'bundled', 'rxmika.cjs'), join(packed.project, 'bundled', 'rxmika-testing.cjs'))
}, 120_000)
afterAll(() => packed?.remove())

const again = { asked: 2, offset: '0', written: 1 }
const well = { state: 'running', recognized: true }

describe('two copies of the package in one program', { timeout: 60_000 }, () => {
  for (const [client, other] of [
    ['esm', 'esm'],
    ['esm', 'cjs'],
    ['cjs', 'esm'],
    ['bundled', 'cjs'],
    ['esm', 'bundled'],
    ['cjs', 'bundled'],
    ['bundled', 'esm'],
  ] as const) {
    it(`lose nothing: client from ${client}, driver and operators from ${other}`, async () => {
      const results = JSON.parse(await packed.evaluateFile('copies.mjs', [client, other]))
      expect(results).toMatchObject({
        'a dead letter that is refused for now': { ...well, dead: 1, lag: 0, codes: ['RXMIKA_PUBLISH'] },
        'a dead letter that is refused for good': {
          ...well,
          dead: 0,
          lag: 1,
          codes: ['RXMIKA_PUBLISH', 'RXMIKA_UNROUTABLE_FAILURE'],
        },
        'a commit that is refused for now': { ...well, lag: 0, codes: ['RXMIKA_COMMIT'] },
        'steps of the other copy': { ...well, retried: 1, dead: 1 },
        'a decoder of the other copy': { ...well, dead: 1, lag: 0 },
        'an old place': again,
        'an error as it is': again,
        nothing: again,
        'no offset': again,
        'a refusal without a reason': again,
        'a client that is none': {
          code: 'RXMIKA_CONFIGURATION',
          message: expect.stringContaining('createClient'),
        },
      })
      // The imported and the required copy are the same; the bundle is another one, or the test has tried nothing.
      const { foreign } = results['a dead letter that is refused for now']
      expect(foreign).toBe((client === 'bundled') !== (other === 'bundled'))
    })
  }
})
