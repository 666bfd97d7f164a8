import type { TestProject } from 'vitest/node'
import { InstalledExamples } from './installed'

declare module 'vitest' {
  interface ProvidedContext {
    /** The folder in which all examples are installed. */
    readonly examples: string
  }
}

/** Installs the examples once for all files. Runs after the setup that builds the package. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const installed = await InstalledExamples.make(project.getProvidedContext().tarball)
  project.provide('examples', installed.folder)
  return () => installed.remove()
}
