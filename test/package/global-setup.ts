import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { pack } from './packed'

declare module 'vitest' {
  interface ProvidedContext {
    /** The package's file. */
    readonly tarball: string
  }
}

/** Builds the package once for all files that test it. */
export default async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'rxmika-built-'))
  provide('tarball', await pack(folder))
  return () => rm(folder, { recursive: true, force: true })
}
