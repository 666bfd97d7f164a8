import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))
const tools = ['tsx', 'typescript']

/** All packages of examples/, installed as by users: in a separate folder, with the packed package, by one `npm install`. */
export class InstalledExamples {
  private constructor(readonly folder: string) {}

  static async make(tarball: string): Promise<InstalledExamples> {
    const folder = await mkdtemp(join(tmpdir(), 'rxmika-examples-'))
    const names = await exampleNames()
    await Promise.all(names.map(name => copyExample(name, folder, tarball)))
    const workspaces = {
      name: 'examples',
      private: true,
      workspaces: names,
      dependencies: { rxmika: `file:${tarball}` },
    }
    await writeFile(join(folder, 'package.json'), JSON.stringify(workspaces))
    await run(folder, 'npm', ['install', '--prefer-offline', '--no-audit', '--no-fund'])
    return new InstalledExamples(folder)
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true })
  }
}

/** The folders of examples/ that are packages. */
export async function exampleNames(): Promise<string[]> {
  const names = await readdir(join(root, 'examples'))
  return names.filter(name => existsSync(join(root, 'examples', name, 'package.json'))).sort()
}

/**
 * Compiles all examples, each with the compiler options of its own tsconfig.json. Resolves with the errors.
 * Examples with the same options are one program, so what they import is checked once.
 */
export async function compileAll(folder: string): Promise<string[]> {
  const programs = new Map<string, string[]>()
  for (const name of await exampleNames()) {
    const { compilerOptions, include } = JSON.parse(await readFile(join(folder, name, 'tsconfig.json'), 'utf8'))
    const files = programs.get(JSON.stringify(compilerOptions)) ?? []
    programs.set(JSON.stringify(compilerOptions), [...files, ...include.map((path: string) => `${name}/${path}`)])
  }
  const errors: string[] = []
  const config = join(folder, 'tsconfig.json')
  for (const [options, include] of programs) {
    await writeFile(config, JSON.stringify({ compilerOptions: JSON.parse(options), include }))
    const args = [join(root, 'node_modules/typescript/bin/tsc'), '-p', config, '--pretty', 'false']
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder }).catch(error => error)
    errors.push(...stdout.split('\n').filter((line: string) => line.includes('error')))
  }
  return errors
}

/** Runs a test of an example by Node's test runner. Resolves with its output. */
export async function runTest(folder: string, file: string): Promise<string> {
  const tsx = new URL('../../node_modules/tsx/dist/loader.mjs', import.meta.url).href
  return run(folder, process.execPath, ['--import', tsx, '--test', '--test-reporter=tap', file])
}

async function copyExample(name: string, folder: string, tarball: string): Promise<void> {
  const copy = join(folder, name)
  await cp(join(root, 'examples', name), copy, { recursive: true, filter: path => !path.includes('node_modules') })
  const manifest = JSON.parse(await readFile(join(copy, 'package.json'), 'utf8'))
  manifest.dependencies.rxmika = `file:${tarball}`
  // These are taken from this project, which has them already.
  for (const tool of tools) delete manifest.devDependencies[tool]
  await writeFile(join(copy, 'package.json'), JSON.stringify(manifest))
}

async function run(folder: string, program: string, args: readonly string[]): Promise<string> {
  // With Vitest's environment variables, Node's test runner would assume that another runner runs it.
  const { NODE_TEST_CONTEXT: _, NODE_OPTIONS: __, ...env } = process.env
  try {
    const { stdout } = await promisify(execFile)(program, args, { cwd: folder, env })
    return stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${program} ${args.join(' ')}\n${stdout}${stderr}`)
  }
}
