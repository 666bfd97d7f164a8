import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** The newest patch of each version of TypeScript that users have. */
export const versions = ['5.8', '5.9', '6.0', '7.0'] as const
export type Version = (typeof versions)[number]

const folder = fileURLToPath(new URL('../../node_modules/.cache/rxmika-compilers', import.meta.url))

/** Installs all of them, once. They are too large to be part of `npm ci`. */
export async function installCompilers(): Promise<void> {
  await mkdir(folder, { recursive: true })
  const dependencies = Object.fromEntries(versions.map(version => [aliasOf(version), `npm:typescript@~${version}.0`]))
  await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }))
  await promisify(execFile)('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund'], { cwd: folder })
}

/** The compiler's program, which Node runs. */
export async function compiler(version: Version): Promise<string> {
  const home = join(folder, 'node_modules', aliasOf(version))
  const { bin, version: installed } = JSON.parse(await readFile(join(home, 'package.json'), 'utf8'))
  if (!installed.startsWith(`${version}.`)) throw new Error(`TypeScript ${installed} is not ${version}`)
  return join(home, bin.tsc)
}

const aliasOf = (version: Version) => `typescript-${version}`
