import { readFile } from 'node:fs/promises'
import { SourceMap } from 'node:module'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { PackedPackage, toldByProgram } from './packed'

const root = fileURLToPath(new URL('../..', import.meta.url))

let packed: PackedPackage

beforeAll(async () => {
  packed = await PackedPackage.make(inject('tarball'))
}, 120_000)
afterAll(() => packed?.remove())

describe('the packed package', { timeout: 60_000 }, () => {
  // These come first, because they make the program that the next ones run.
  it.each(['node16', 'nodenext'] as const)('has types for both formats, under %s', module => packed.compile(module))

  it.each(['esm', 'cjs'] as const)('runs in a program of the format %s', async format => {
    expect(await packed.run(format)).toEqual(toldByProgram)
  })

  it('has a command line that shows the version of the package', async () => {
    const { version } = JSON.parse(await readFile(join(packed.installed, 'package.json'), 'utf8'))
    expect(await packed.evaluateFile(join(packed.project, 'node_modules', '.bin', 'rxmika'), ['--version'])).toBe(
      `${version}\n`,
    )
  })

  it('exports the same names in both formats', async () => {
    const print = "console.log(Object.keys(rxmika).filter(name => name !== 'default').sort().join())"
    const known = { rxmika: 'createClient', 'rxmika/testing': 'memoryBroker', 'rxmika/inspector': 'inspect' }
    for (const [entry, one] of Object.entries(known)) {
      const names = await packed.evaluate('cjs', `const rxmika = require('${entry}'); ${print}`)
      expect(await packed.evaluate('esm', `import * as rxmika from '${entry}'; ${print}`)).toBe(names)
      expect(names.trim().split(',')).toContain(one)
    }
  })

  it('does not export its internals', async () => {
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

  it('contains the build and the documentation, and nothing else', async () => {
    const built = /^dist\/(esm|cjs)\/.*\.(js|d\.ts|js\.map)$/
    const others = (await packed.files()).filter(
      file =>
        !built.test(file) &&
        !/^docs\/([\w-]+\.(md|webp)|pictures\/[\w-]+\.svg|grafana\/rxmika\.(json|webp))$/.test(file),
    )
    expect(others).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'dist/cjs/package.json', 'package.json'])
    expect(await packed.files()).toContain('docs/reference.md')
  })

  it('has no dead links in its documentation, but to what only the repository has: tests, sources, examples and two texts', async () => {
    const files = await packed.files()
    const inRepository = /^((test|src|examples)\/|CONTRIBUTING\.md$|SECURITY\.md$)/
    const dead = new Set<string>()
    let alive = 0
    for (const file of files.filter(name => /^(README|docs\/[\w-]+)\.md$/.test(name))) {
      for (const [, target] of (await text(file)).matchAll(/\]\(([^)\s#:]+)(?:#[^)]*)?\)/g)) {
        const path = normalize(join(dirname(file), target!))
        if (files.includes(path)) alive++
        else if (!inRepository.test(path)) dead.add(`${file}: ${target}`)
      }
    }
    expect([...dead]).toEqual([])
    expect(alive).toBeGreaterThan(100)
  })

  it('contains every picture that its documentation shows, and the dashboard', async () => {
    const files = await packed.files()
    const shown = []
    for (const file of files.filter(name => name.endsWith('.md'))) {
      for (const [, target] of (await text(file)).matchAll(/!\[[^\]]*\]\(([^)]+)\)/g))
        shown.push(join(dirname(file), target!))
    }
    expect(shown.length).toBeGreaterThan(2)
    expect(files).toEqual(expect.arrayContaining([...shown, 'docs/grafana/rxmika.json']))
  })

  it('is loaded once in a program that both imports and requires it', async () => {
    const code = `import { createRequire } from 'node:module'
      const require = createRequire(process.cwd() + '/')
      for (const entry of ['rxmika', 'rxmika/testing', 'rxmika/inspector']) {
        const [imported, required] = [await import(entry), require(entry)]
        for (const [name, value] of Object.entries(imported)) if (value !== required[name]) console.log(entry, name)
      }`
    expect(await packed.evaluate('esm', code)).toBe('')
  })

  it('has the types of each entry point for resolvers that ignore `exports`', async () => {
    const { main, types, exports, typesVersions } = JSON.parse(await text('package.json'))
    expect([main, types]).toEqual([exports['.'].require.default, exports['.'].require.types])
    const others = Object.entries<{ require: { types: string } }>(exports).filter(
      ([name]) => !/^\.$|\.json$/.test(name),
    )
    expect(typesVersions['*']).toEqual(
      Object.fromEntries(others.map(([name, { require }]) => [name.slice(2), [require.types]])),
    )
  })

  it('needs less than 8 MB with its dependencies, without RxJS', async () => {
    expect(await packed.installedSize(['rxjs', 'tslib', '@types'])).toBeLessThan(8 * 1024 * 1024)
  })

  it('takes at most 1.3 times the import time of kafkajs, RxJS and pino', async () => {
    const imports = { own: ['rxmika'], theirs: ['kafkajs', 'rxjs', 'pino'] }
    const times = { own: [] as number[], theirs: [] as number[] }
    // Processor time in alternating runs, and the minimum of each, so that other work on the machine matters little.
    for (let round = 0; round < 7; round++) {
      for (const which of ['own', 'theirs'] as const) {
        const code = `const before = process.cpuUsage()
          ${imports[which].map(name => `await import('${name}')`).join('\n')}
          const { user, system } = process.cpuUsage(before)
          console.log(user + system)`
        times[which].push(Number(await packed.evaluate('esm', code)))
      }
    }
    expect(Math.min(...times.own) / Math.min(...times.theirs)).toBeLessThan(1.3)
  })

  it('loads kafkajs only at a login', async () => {
    const loaded = `Object.keys(require.cache).some(file => file.includes('kafkajs'))`
    expect(await packed.evaluate('cjs', `require('rxmika'); console.log(${loaded})`)).toBe('false\n')
  })

  it('depends only on packages with permissive licences', async () => {
    const lock = JSON.parse(await readFile(join(packed.project, 'node_modules', '.package-lock.json'), 'utf8'))
    const licences = Object.entries<{ license?: string }>(lock.packages).map(([name, { license }]) => [name, license])
    expect(licences.length).toBeGreaterThan(10)
    for (const [name, license] of licences)
      expect(['MIT', 'ISC', '0BSD', 'BSD-3-Clause', 'Apache-2.0'], name).toContain(license)
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

  it('maps each line of its code to a line of the sources', async () => {
    const maps = (await packed.files()).filter(name => name.endsWith('.map'))
    for (const file of maps) {
      const map = new SourceMap(JSON.parse(await text(file)))
      const lines = (await text(file.replace(/\.map$/, ''))).split('\n')
      const named = lines.flatMap((line, at) => {
        const name = /^ *(?:async |get |set |static |#)*(?:function |class )?(\w{4,})\b/.exec(line)?.[1]
        // Rollup writes the re-exports of files that entry points share.
        return name === undefined || name === 'exports'
          ? []
          : [{ name, at, column: line.length - line.trimStart().length }]
      })
      let found = 0
      for (const { name, at, column } of named) {
        const entry = map.findEntry(at, column)
        if (!('originalSource' in entry)) continue
        const path = relative(packed.installed, join(packed.installed, dirname(file), entry.originalSource))
        if ((await source(path))[entry.originalLine]?.includes(name)) found++
      }
      // Rollup and esbuild write the other lines, such as imports. If the map were off by one line, a fifth would be found.
      expect(found / named.length, file).toBeGreaterThan(0.9)
    }
    expect(maps.length).toBeGreaterThan(3)
  })

  it.each(['esm', 'cjs'] as const)(
    'has source lines in the stack traces of a program of the format %s',
    async format => {
      const load = format === 'esm' ? `await import('rxmika')` : `require('rxmika')`
      const code = `const { createClient } = ${load}
      try { createClient({ brokers: [] }) } catch (error) { console.log(error.stack) }`
      const stack = await packed.evaluate(format, code, '--enable-source-maps')
      const frames = [...stack.matchAll(/at (?:new )?(\w+) \(.*rxmika\/(src\/.*\.ts):(\d+):\d+\)/g)]
      expect(frames.map(([, name]) => name)).toContain('configure')
      // Each line except the last calls the function above it in the stack.
      for (const [at, [, , file, line]] of frames.entries()) {
        const called = frames[at - 1]?.[1]
        if (called === undefined) continue
        expect((await source(file!))[Number(line) - 1]).toContain(`${called}(`)
      }
    },
  )

  it('contains no path of the machine that built it', async () => {
    for (const file of await packed.files()) expect(await text(file), file).not.toContain(packed.folder)
  })
})

describe('rxmika/inspector', { timeout: 60_000 }, () => {
  const names = { rxmika: 'createClient', 'rxmika/testing': 'memoryBroker', 'rxmika/inspector': 'inspect' }
  const loads = {
    esm: Object.entries(names).map(([entry, name]) => `const { ${name} } = await import('${entry}')`),
    cjs: Object.entries(names).map(([entry, name]) => `const { ${name} } = require('${entry}')`),
  }

  it.each(['esm', 'cjs'] as const)('serves the built page, in a program of the format %s', async format => {
    const served = await packed.evaluate(
      format,
      `${loads[format].join('\n')}
      const client = createClient({ driver: memoryBroker().driver(), logger: false })
      const run = async () => {
        const { url } = await inspect(client)
        for (const path of ['', 'page.js', 'page.css', 'stalls', 'none']) {
          const response = await fetch(url + path)
          console.log(response.status, response.headers.get('content-type'), (await response.text()).length > 100)
        }
        await client.close()
      }
      run()`,
    )
    expect(served.trim().split('\n')).toEqual([
      '200 text/html; charset=utf-8 true',
      '200 text/javascript; charset=utf-8 true',
      '200 text/css; charset=utf-8 true',
      '200 application/json; charset=utf-8 true',
      '404 application/json; charset=utf-8 false',
    ])
  })

  it('is loaded only by its own import, and does not load the memory broker', async () => {
    const loaded = (entry: string, part: string) =>
      packed.evaluate(
        'cjs',
        `require('${entry}'); console.log(Object.keys(require.cache).some(file => file.includes('${part}')))`,
      )
    expect(await loaded('rxmika', 'inspector')).toBe('false\n')
    expect(await loaded('rxmika/inspector', 'inspector')).toBe('true\n')
    for (const part of ['testing', 'recorded', 'kafkajs'])
      expect(await loaded('rxmika/inspector', part), part).toBe('false\n')
  })

  it('has types for both formats', async () => {
    await packed.compileText(
      `import type { Client } from 'rxmika'
      import { inspect, type InspectOptions, type Inspector } from 'rxmika/inspector'
      declare const client: Client
      const options: InspectOptions = { port: 0, host: '127.0.0.1' }
      export const inspector: Promise<Inspector> = inspect(client, options)
      export const url: Promise<string> = inspector.then(({ url, close }) => close().then(() => url))\n`,
    )
  })
})

describe('rxmika/opentelemetry', { timeout: 60_000 }, () => {
  const use = (load: string) => `
    const events = []
    const span = { spanContext: () => ({ traceId: '0'.repeat(32), spanId: '0'.repeat(16), traceFlags: 0 }) }
    for (const name of ['setAttribute', 'setStatus', 'addLink', 'recordException', 'end']) span[name] = () => span
    const tracer = { startSpan: name => (events.push(name), span) }
    ${load}
    const client = createClient({ driver: memoryBroker().driver(), logger: false })
    const instrumented = instrument(client, { tracerProvider: { getTracer: () => tracer } })
    client.publish({ topic: 'orders', value: 'v' }).subscribe({
      complete: () => client.close().then(() => { instrumented.unsubscribe(); console.log(events.join()) }),
    })`
  const names = { rxmika: 'createClient', 'rxmika/testing': 'memoryBroker', 'rxmika/opentelemetry': 'instrument' }
  const entries = Object.entries(names)
  const loads = {
    esm: entries.map(([entry, name]) => `const { ${name} } = await import('${entry}')`).join('\n'),
    cjs: entries.map(([entry, name]) => `const { ${name} } = require('${entry}')`).join('\n'),
  }

  it('requires the API of OpenTelemetry, which the other entry points do not, and names it if it is missing', async () => {
    await expect(packed.evaluate('esm', use(loads.esm))).rejects.toThrow(/@opentelemetry\/api/)
    const loaded = `Object.keys(require.cache).some(file => file.includes('opentelemetry'))`
    expect(await packed.evaluate('cjs', `require('rxmika'); console.log(${loaded})`)).toBe('false\n')
  })

  it('instruments a client of either format, once the API is installed, and has types for both', async () => {
    await packed.add('@opentelemetry/api')
    for (const format of ['esm', 'cjs'] as const) {
      expect(await packed.evaluate(format, use(loads[format])), format).toBe('send orders\n')
    }
    await packed.compileText(
      `import type { TracerProvider } from '@opentelemetry/api'
      import { type Client, type ClientHealth, type ClientMetrics, type ProcessMessage } from 'rxmika'
      import { instrument, type InstrumentOptions } from 'rxmika/opentelemetry'
      declare const [client, tracerProvider]: [Client, TracerProvider]
      const options: InstrumentOptions = { tracerProvider, parent: 'none' }
      instrument(client, options).unsubscribe()
      export const health: ClientHealth = client.health()
      export const metrics: ClientMetrics = client.metrics()
      export const lag: bigint | undefined = metrics.partitions[0]?.lag
      export type Message = ProcessMessage\n`,
    )
  })
})

const sources = new Map<string, Promise<string[]>>()

/** The lines of a source file, read once. */
function source(path: string): Promise<string[]> {
  const lines = sources.get(path) ?? readFile(join(root, path), 'utf8').then(code => code.split('\n'))
  sources.set(path, lines)
  return lines
}

const text = (file: string) => readFile(join(packed.installed, file), 'utf8')

/** The imports of a file in every form of import. Comments do not count. */
function imports(code: string): string[] {
  const bare = code.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
  return [...bare.matchAll(/\b(?:from\s+|import\s+|require\(\s*|import\(\s*)['"]([^'"]+)['"]/g)].map(
    ([, name]) => name!,
  )
}
