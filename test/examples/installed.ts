import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))
const tools = ['tsx', 'typescript', '@types/node']

/** A package of examples/ as a user has it: in a folder of its own, with the packed package and its other dependencies. */
export class InstalledExample {
  private constructor(readonly folder: string) {}

  static async make(name: string, tarball: string): Promise<InstalledExample> {
    const folder = await mkdtemp(join(tmpdir(), `rxmika-example-${name}-`))
    await cp(join(root, 'examples', name), folder, { recursive: true, filter: path => !path.includes('node_modules') })
    const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
    manifest.dependencies.rxmika = `file:${tarball}`
    // This project's own do, and are there already.
    for (const tool of tools) delete manifest.devDependencies[tool]
    await writeFile(join(folder, 'package.json'), JSON.stringify(manifest))
    const made = new InstalledExample(folder)
    await made.#run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund'])
    await mkdir(join(folder, 'node_modules/@types'), { recursive: true })
    await symlink(join(root, 'node_modules/@types/node'), join(folder, 'node_modules/@types/node'))
    return made
  }

  /** Compiles it as its tsconfig.json says; rejects with what is wrong. */
  async compile(): Promise<void> {
    await this.#run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', this.folder])
  }

  /** Runs one of its tests by Node's own runner; resolves with what it printed. */
  async test(file: string): Promise<string> {
    const tsx = new URL('../../node_modules/tsx/dist/loader.mjs', import.meta.url).href
    return this.#run(process.execPath, ['--import', tsx, '--test', '--test-reporter=tap', file])
  }

  async #run(program: string, args: readonly string[]): Promise<string> {
    // Vitest's environment makes Node's test runner think that it is run by another one.
    const { NODE_TEST_CONTEXT: _, NODE_OPTIONS: __, ...env } = process.env
    try {
      const { stdout } = await promisify(execFile)(program, args, { cwd: this.folder, env })
      return stdout
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string }
      throw new Error(`${program} ${args.join(' ')}\n${stdout}${stderr}`)
    }
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true })
  }
}
