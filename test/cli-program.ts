import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** The folder of the packages that it imports. */
const folder = fileURLToPath(new URL('../node_modules/.rxmika-cli/', import.meta.url))

/** Bundles the sources of the command line into one file, which Node starts faster. Resolves with its path. */
export async function cliProgram(): Promise<string> {
  await mkdir(folder, { recursive: true })
  const outfile = `${folder}${process.pid}.mjs`
  await build({
    entryPoints: [fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))],
    outfile,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'silent',
  })
  return outfile
}
