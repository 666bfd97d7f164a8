import { readFile } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PackedPackage, toldByProgram } from './packed'

let packed: PackedPackage

beforeAll(async () => {
  packed = await PackedPackage.make()
}, 120_000)
afterAll(() => packed?.remove())

describe('the packed package', { timeout: 60_000 }, () => {
  // First of all, for these make the program that the next ones run.
  it.each(['node16', 'nodenext'] as const)('has types for both formats, under %s', module => packed.compile(module))

  it.each(['esm', 'cjs'] as const)('runs in a program of the format %s', async format => {
    expect(await packed.run(format)).toEqual(toldByProgram)
  })

  it('gives both formats the same names', async () => {
    const print = "console.log(Object.keys(rxmika).filter(name => name !== 'default').sort().join())"
    for (const entry of ['rxmika', 'rxmika/testing']) {
      const names = await packed.evaluate('cjs', `const rxmika = require('${entry}'); ${print}`)
      expect(await packed.evaluate('esm', `import * as rxmika from '${entry}'; ${print}`)).toBe(names)
      expect(names).toMatch(entry === 'rxmika' ? /\bcreateClient\b/ : /\bmemoryBroker\b/)
    }
  })

  it('keeps its internals to itself', async () => {
    const files = (await packed.files()).filter(file => file.startsWith('dist') && file.endsWith('.js'))
    const inner = files.flatMap(file => [`rxmika/${file}`, `rxmika/${file.replace(/\.js$/, '')}`])
    const tried = JSON.stringify(['rxmika/src/index.ts', 'rxmika/dist', ...inner])
    const opened = await packed.evaluate(
      'esm',
      `import { createRequire } from 'node:module'
      const require = createRequire(process.cwd() + '/')
      for (const name of ${tried}) {
        for (const open of [() => import(name), async () => require(name)]) {
          await open().then(() => console.log(name), error => error.code === 'ERR_PACKAGE_PATH_NOT_EXPORTED' || console.log(error.code))
        }
      }`,
    )
    expect(opened).toBe('')
  })

  it('holds what was built, and nothing else', async () => {
    const others = (await packed.files()).filter(file => !/^dist\/(esm|cjs)\/.*\.(js|d\.ts|js\.map)$/.test(file))
    expect(others).toEqual(['README.md', 'dist/cjs/package.json', 'package.json'])
  })

  it('imports only what it declares, in code and in types', async () => {
    const files = await packed.files()
    const { dependencies, peerDependencies } = JSON.parse(await text('package.json'))
    const declared = Object.keys({ ...dependencies, ...peerDependencies })
    for (const file of files.filter(name => /\.(js|d\.ts)$/.test(name))) {
      for (const name of imports(await text(file))) {
        if (name.startsWith('.')) {
          const target = normalize(join(dirname(file), name))
          const found = [target, target.replace(/\.js$/, '.d.ts')].some(path => files.includes(path))
          expect(found, `${name} in ${file}`).toBe(true)
        } else if (!name.startsWith('node:')) {
          expect(declared, `${name} in ${file}`).toContain(/^(@[^/]+\/)?[^/]+/.exec(name)![0])
        }
      }
    }
  })

  it('has the sources in its source maps', async () => {
    for (const file of (await packed.files()).filter(name => name.endsWith('.map'))) {
      const { sources, sourcesContent } = JSON.parse(await text(file))
      expect(sourcesContent, file).toHaveLength(sources.length)
    }
  })

  it('names no path of the machine that built it', async () => {
    for (const file of await packed.files()) expect(await text(file), file).not.toContain(packed.folder)
  })
})

const text = (file: string) => readFile(join(packed.installed, file), 'utf8')

/** What a file imports, by any of the ways there are; comments are no code. */
function imports(code: string): string[] {
  const bare = code.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
  return [...bare.matchAll(/\b(?:from|import|require\(|import\()\s*['"]([^'"]+)['"]/g)].map(([, name]) => name!)
}
