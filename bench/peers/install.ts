import { existsSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { run, Unavailable } from '../../test/kafka/run.js'

const folder = fileURLToPath(new URL('.', import.meta.url))
const installed = `${folder}node_modules/.package-lock.json`
let installing: Promise<void> | undefined

/** Installs the packages of this folder's lock file, once. Rejects with {@link Unavailable} if that fails. */
export function peers(): Promise<void> {
  installing ??= upToDate() ? Promise.resolve() : install()
  return installing
}

const upToDate = () =>
  existsSync(installed) && statSync(installed).mtimeMs >= statSync(`${folder}package-lock.json`).mtimeMs

async function install(): Promise<void> {
  console.error('installing the other clients: npm ci --prefix bench/peers')
  try {
    // `--loglevel=error` hides a warning: version 2 requires a newer Node, and is run by one.
    await run('npm', ['ci', '--prefix', folder, '--loglevel=error', '--no-audit', '--no-fund'])
  } catch (error) {
    throw new Unavailable(`npm ci --prefix bench/peers failed: ${(error as Error).message}`)
  }
}

/** The path of Node 24, which is one of the packages of this folder. */
export function nodeNewer(): string {
  const program = `${folder}node_modules/node-${process.platform}-${process.arch}/bin/node`
  if (!existsSync(program)) {
    throw new Unavailable(`bench/peers has no package of Node 24 for ${process.platform} on ${process.arch}`)
  }
  return program
}
