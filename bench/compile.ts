import { build } from 'esbuild'
import { here, scripts } from './scripts.js'

/**
 * Makes JavaScript of the scripts: a process that compiles TypeScript as it goes has some 35 MiB of that, and threads.
 * Packages stay what they are, this one's build included.
 */
export async function compile(): Promise<void> {
  await build({
    absWorkingDir: here,
    entryPoints: Object.entries(scripts).map(([script, out]) => ({ in: `${script}.ts`, out })),
    outdir: here,
    bundle: true,
    packages: 'external',
    // `sideEffects: false` of the package is said of its build.
    ignoreAnnotations: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'warning',
  })
}
