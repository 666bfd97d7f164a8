import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run, Unavailable } from './run'

const bin = fileURLToPath(new URL('../../.kafka/bin', import.meta.url))

/**
 * The program in a folder of Go sources. It is built on first use and kept in `.kafka/bin` until its sources change.
 *
 * Rejects with {@link Unavailable} if it has not been built and Go is not installed.
 */
export const goProgram = async (name: string, sources: string): Promise<string> => {
  const hash = createHash('sha256')
  const files = (await readdir(sources)).filter(file => /^go\.(mod|sum)$|\.go$/.test(file))
  for (const file of files.sort()) hash.update(await readFile(join(sources, file)))
  const program = join(bin, `${name}-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(program)) return program
  try {
    await run('go', ['version'])
  } catch (error) {
    if (error instanceof Unavailable)
      throw new Unavailable(`the Go program "${name}" needs Go 1.25 or newer: go is not installed`)
    throw error
  }
  await mkdir(bin, { recursive: true })
  // Built under a temporary name first, so that an interrupted or concurrent run leaves no incomplete program.
  const fresh = `${program}-${process.pid}`
  await run('go', ['build', '-C', sources, '-o', fresh, '.'])
  await rename(fresh, program)
  return program
}
