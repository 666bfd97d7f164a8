import { execFile } from 'node:child_process'
import { cp, lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const modules = join(root, 'node_modules')
const fixtures = fileURLToPath(new URL('fixtures', import.meta.url))

export type Format = 'esm' | 'cjs'
/** The output of the user's program, on any broker. */
export const toldByProgram = [
  'topic 1: v at 0, traced by t',
  'retry 2: v at 0, traced by t',
  'retry 3: v at 0, traced by t',
  'acked with 3',
  'drained true',
  'an error of its kind: true',
]

const programs = { esm: 'program.mts', cjs: 'program.cts' } as const

interface Printed {
  readonly stdout: string
  readonly stderr: string
}

/** Runs a tool of this project in a folder. Rejects with its output if it fails. */
async function tool(cwd: string, program: string, args: readonly string[], env = process.env): Promise<Printed> {
  try {
    return await run(program, args, { cwd, env, maxBuffer: 2 ** 26 })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${program} ${args.join(' ')}\n${stdout}${stderr}`)
  }
}

/**
 * Builds the package from the present sources, in its own folder. Resolves with the path of its file. With
 * `RXMIKA_BUILT=true`, as in CI, it packs the files in dist/ that `npm run build` has written.
 */
export async function pack(folder: string): Promise<string> {
  if (process.env.RXMIKA_BUILT === 'true') return packBuilt(root, folder)
  const source = join(folder, 'source')
  await mkdir(source)
  const texts = ['README.md', 'LICENSE', 'CHANGELOG.md', 'docs']
  const parts = ['package.json', ...texts, 'src', 'scripts', ...(await readdir(root)).filter(isTsconfig)]
  await Promise.all(parts.map(part => cp(join(root, part), join(source, part), { recursive: true })))
  await symlink(modules, join(source, 'node_modules'))
  await tool(source, 'npm', ['run', 'build'])
  return packBuilt(source, folder)
}

async function packBuilt(source: string, folder: string): Promise<string> {
  await tool(source, 'npm', ['pack', '--pack-destination', folder])
  const [tarball] = (await readdir(folder)).filter(name => name.endsWith('.tgz'))
  return join(folder, tarball!)
}

/**
 * The package as published, and a user's project that has it installed.
 *
 * Uses temporary folders only, so that a concurrent build has no effect.
 */
export class PackedPackage {
  private constructor(
    readonly folder: string,
    /** The user's project. */
    readonly project: string,
  ) {}

  /** @param built The package's file, if it is built already. */
  static async make(built?: string): Promise<PackedPackage> {
    const folder = await mkdtemp(join(tmpdir(), 'rxmika-package-'))
    try {
      const tarball = built ?? (await pack(folder))
      const project = join(folder, 'project')
      await mkdir(project)
      const { version: rxjs } = JSON.parse(await readFile(join(modules, 'rxjs', 'package.json'), 'utf8'))
      await writeFile(join(project, 'package.json'), '{ "name": "user", "private": true }\n')
      await tool(project, 'npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball, `rxjs@${rxjs}`])
      // Only for the compiler. Added after the installation, which removes packages that it does not know.
      await mkdir(join(project, 'node_modules', '@types'), { recursive: true })
      await symlink(join(modules, '@types', 'node'), join(project, 'node_modules', '@types', 'node'))
      for (const program of Object.values(programs)) {
        await cp(join(fixtures, 'program.ts'), join(project, program))
      }
      return new PackedPackage(folder, project)
    } catch (error) {
      await rm(folder, { recursive: true, force: true })
      throw error
    }
  }

  /** The installed package. */
  get installed(): string {
    return join(this.project, 'node_modules', 'rxmika')
  }

  /** The paths of the files in the package. */
  async files(): Promise<string[]> {
    const entries = await readdir(this.installed, { recursive: true, withFileTypes: true })
    return entries
      .filter(entry => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(this.installed.length + 1))
      .sort()
  }

  /** Installs one more package in the user's project: the version that this project has. */
  async add(name: string): Promise<void> {
    const target = join(this.project, 'node_modules', name)
    await mkdir(dirname(target), { recursive: true })
    await symlink(join(modules, name), target)
  }

  /** Compiles one more program of the user, in both formats. */
  async compileText(text: string): Promise<void> {
    const files = ['extra.mts', 'extra.cts']
    await Promise.all(files.map(file => writeFile(join(this.project, file), text)))
    const options = ['--noEmit', '--module', 'nodenext', '--moduleResolution', 'nodenext', '--target', 'es2022']
    const tsc = join(modules, 'typescript', 'bin', 'tsc')
    const strictly = ['--strict', '--skipLibCheck', 'false', '--types', 'node']
    await tool(this.project, process.execPath, [tsc, ...options, ...strictly, ...files])
  }

  /** Compiles the user's program in both formats, and checks the types of its libraries too. */
  async compile(module: 'node16' | 'nodenext'): Promise<void> {
    const options = ['--module', module, '--moduleResolution', module, '--target', 'es2022', '--lib', 'es2022']
    const strictly = ['--strict', '--skipLibCheck', 'false', '--noUncheckedIndexedAccess', '--types', 'node']
    const tsc = join(modules, 'typescript', 'bin', 'tsc')
    await tool(this.project, process.execPath, [tsc, ...options, ...strictly, ...Object.values(programs)])
  }

  /** Runs a compiler in the user's project. Rejects with its output if it fails. */
  async compileBy(compiler: string, args: readonly string[]): Promise<void> {
    await tool(this.project, process.execPath, [compiler, ...args])
  }

  /** Runs the compiled program; resolves with the lines it printed. */
  async run(format: Format, env: Readonly<Record<string, string>> = {}): Promise<string[]> {
    const { KAFKA_BROKERS: _, ...others } = process.env
    const program = programs[format].replace('ts', 'js')
    const output = await this.#node([program], { ...others, ...env })
    return output.trim().split('\n')
  }

  /** Runs a program in the user's project. Resolves with its output. */
  evaluateFile(file: string, args: readonly string[]): Promise<string> {
    return this.#node([file, ...args])
  }

  /** Evaluates code in the user's project. */
  evaluate(format: Format, code: string, ...options: readonly string[]): Promise<string> {
    const type = format === 'esm' ? 'module' : 'commonjs'
    return this.#node([...options, `--input-type=${type}`, '--eval', code])
  }

  /** The size of the installed packages on the disk, without the named ones, bytes. */
  async installedSize(without: readonly string[]): Promise<number> {
    const modules = join(this.project, 'node_modules')
    const entries = await readdir(modules, { recursive: true, withFileTypes: true })
    const paths = entries.map(({ parentPath, name }) => join(parentPath, name))
    const counted = paths.filter(path => !without.some(name => path.startsWith(join(modules, name))))
    const sizes = await Promise.all(counted.map(async path => (await lstat(path)).blocks * 512))
    return sizes.reduce((sum, size) => sum + size, 0)
  }

  /** Also rejects if there is output on stderr: a warning, an unhandled error. */
  async #node(args: readonly string[], env = process.env): Promise<string> {
    const { stdout, stderr } = await tool(this.project, process.execPath, args, env)
    if (stderr !== '') throw new Error(`node ${args.join(' ')}\n${stderr}`)
    return stdout
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true })
  }
}

function isTsconfig(name: string): boolean {
  return /^tsconfig.*\.json$/.test(name)
}
