import { existsSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { run, Unavailable } from '../../test/kafka/run.js'

const folder = fileURLToPath(new URL('.', import.meta.url))
const installed = `${folder}node_modules/.package-lock.json`
let installing: Promise<void> | undefined

/** Installs what the lock file of this folder says, once. Rejects with {@link Unavailable} when that does not work. */
export function peers(): Promise<void> {
  installing ??= upToDate() ? Promise.resolve() : install()
  return installing
}

const upToDate = () =>
  existsSync(installed) && statSync(installed).mtimeMs >= statSync(`${folder}package-lock.json`).mtimeMs

async function install(): Promise<void> {
  console.error('installing the peers: npm ci --prefix bench/peers')
  try {
    // Its second major version is for newer Nodes, and says so by warnings: it is run by one.
    await run('npm', ['ci', '--prefix', folder, '--loglevel=error', '--no-audit', '--no-fund'])
  } catch (error) {
    throw new Unavailable(`npm ci --prefix bench/peers did not work: ${(error as Error).message}`)
  }
}

/** The Node that came with the peers. */
export function nodeNewer(): string {
  const program = `${folder}node_modules/node-${process.platform}-${process.arch}/bin/node`
  if (!existsSync(program)) {
    throw new Unavailable(`a Node 24 for ${process.platform} on ${process.arch} is not among the peers' packages`)
  }
  return program
}
