// Builds the package: one implementation in CommonJS, with a file for each entry point, and files for shared code. The ES
// modules re-export it, so a program that both imports and requires the package has it once. esbuild removes the types file by
// file, as for the tests. TypeScript writes the declarations, and Rollup joins code and declarations. Nothing minifies, removes
// or moves code: see docs/decisions.md.
import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { decode, encode, type SourceMapMappings } from '@jridgewell/sourcemap-codec'
import { transform } from 'esbuild'
import { type Plugin, rollup } from 'rollup'
import { dts } from 'rollup-plugin-dts'
import { bundlePage } from '../src/inspector/page/bundle'

const types = 'dist/types'
const pageFiles = resolve('src/inspector/page-files.ts')
const versionFile = resolve('src/cli/version.ts')
const shebang = /^#!.*\n/

await rm('dist', { recursive: true, force: true })
const entries = await entryPoints()
await Promise.all([writeCode(), writeDeclarations()])
await rm(types, { recursive: true })

/** The entry points that package.json names, as `index` or `testing/index`. */
async function entryPoints(): Promise<string[]> {
  const { exports, bin = {} } = JSON.parse(await readFile('package.json', 'utf8'))
  const files = JSON.stringify([exports, bin]).matchAll(/"(?:\.\/)?dist\/(?:esm|cjs)\/([^"]+)\.js"/g)
  return [...new Set([...files].map(([, name]) => name!))]
}

async function writeCode(): Promise<void> {
  const bundle = await rollup({
    input: Object.fromEntries(entries.map(entry => [entry, resolve('src', `${entry}.ts`)])),
    external: name => !name.startsWith('.') && !name.startsWith(resolve('src')),
    plugins: [typescriptSources()],
    treeshake: false,
    onwarn: warning => {
      throw new Error(warning.message)
    },
  })
  const { output } = await bundle.write({
    dir: 'dist/cjs',
    format: 'cjs',
    exports: 'named',
    interop: 'auto',
    generatedCode: 'es2015',
    chunkFileNames: 'shared/[name].js',
    // `import()` would bypass a test runner that replaces `require`.
    dynamicImportInCjs: false,
    hoistTransitiveImports: false,
    sourcemap: true,
    // The sources would be a third of the package.
    sourcemapExcludeSources: true,
  })
  await writeFile('dist/cjs/package.json', '{ "type": "commonjs" }\n')
  for (const chunk of output) {
    if (chunk.type !== 'chunk') continue
    const map = { ...chunk.map!, names: [], mappings: encode(byLine(decode(chunk.map!.mappings))) }
    await writeFile(`dist/cjs/${chunk.fileName}.map`, JSON.stringify(map))
    if (!chunk.isEntry) continue
    const [program = ''] = shebang.exec(chunk.code) ?? []
    const names = chunk.exports.toSorted().join(', ')
    const statement = names === '' ? 'import' : `export { ${names} } from`
    await write(`dist/esm/${chunk.name}.js`, `${program}${statement} '${fromEsModule(chunk.name)}'\n`)
  }
}

/**
 * Joins the declarations that a user can reach, like the code: most files are smaller than the disk block that each of them
 * occupies.
 */
async function writeDeclarations(): Promise<void> {
  await tsc('--emitDeclarationOnly', '--outDir', types)
  const bundle = await rollup({
    input: Object.fromEntries(entries.map(entry => [entry, resolve(types, `${entry}.d.ts`)])),
    external: name => !name.startsWith('.') && !name.startsWith(resolve(types)),
    plugins: [dts()],
    onwarn: warning => {
      // The command line exports nothing.
      if (warning.code !== 'EMPTY_BUNDLE') throw new Error(warning.message)
    },
  })
  await bundle.write({
    dir: 'dist/cjs',
    entryFileNames: '[name].d.ts',
    chunkFileNames: ({ name }) => `shared/${name.replace(/\.d$/, '')}.d.ts`,
    minifyInternalExports: false,
  })
  for (const entry of entries) await write(`dist/esm/${entry}.d.ts`, `export * from '${fromEsModule(entry)}'\n`)
}

async function tsc(...options: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)('npx', ['tsc', '-p', 'tsconfig.build.json', ...options])
  } catch (error) {
    throw new Error(`tsc ${options.join(' ')}\n${(error as { stdout: string }).stdout}`)
  }
}

/** Resolves imports to the sources, and removes their types. */
function typescriptSources(): Plugin {
  return {
    name: 'typescript-sources',
    resolveId(name, importer) {
      return name.startsWith('.') ? resolve(dirname(importer!), name.replace(/\.js$/, '.ts')) : null
    },
    async load(file) {
      if (file === pageFiles) return { code: await pageText(), map: { mappings: '' } }
      if (file === versionFile) return { code: await versionText(), map: { mappings: '' } }
      const source = await readFile(file, 'utf8')
      const tsconfigRaw = { compilerOptions: { verbatimModuleSyntax: true, target: 'es2022' } }
      return transform(withoutDocComments(source), {
        loader: 'ts',
        target: 'es2022',
        sourcemap: true,
        sourcefile: file,
        tsconfigRaw,
      })
    },
  }
}

/** Removes doc comments from the code, because editors read those of the declarations. Line numbers stay the same, for source maps and stack traces. */
function withoutDocComments(source: string): string {
  return source.replace(/^[ \t]*\/\*\*[\s\S]*?\*\/[ \t]*$/gm, comment => comment.replace(/[^\n]/g, ''))
}

/** Replaces `page-files.ts` by the files themselves, so that the package still works when a user bundles it. */
async function pageText(): Promise<string> {
  return `const files = new Map(${JSON.stringify([...(await bundlePage())])})
export const pageFiles = () => Promise.resolve(files)
`
}

/** Replaces `version.ts`. */
async function versionText(): Promise<string> {
  const { version } = JSON.parse(await readFile('package.json', 'utf8'))
  return `export const packageVersion = () => ${JSON.stringify(version)}\n`
}

/** A source map of lines only, which stack traces and breakpoints need. Columns would be a quarter of the package. */
function byLine(mappings: SourceMapMappings): SourceMapMappings {
  const lines = mappings.map(line => line.filter((segment, at) => at === 0 || segment[2] !== line[at - 1]![2]))
  return lines.map(line =>
    line.map(([column, source, from, at]) => (source === undefined ? [column] : [column, source, from!, at!])),
  )
}

function fromEsModule(entry: string): string {
  return relative(dirname(`dist/esm/${entry}`), `dist/cjs/${entry}.js`).replaceAll('\\', '/')
}

async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, text)
}
