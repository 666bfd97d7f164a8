import { build } from 'esbuild'
import { here, scripts } from './scripts.js'

/**
 * Compiles the scripts to JavaScript before any of them runs. Compiling at run time would add some 35 MiB and threads to a
 * measured process. Packages are not bundled, and neither is this library's build.
 */
export async function compile(): Promise<void> {
  await build({
    absWorkingDir: here,
    entryPoints: Object.entries(scripts).map(([script, out]) => ({ in: `${script}.ts`, out })),
    outdir: here,
    bundle: true,
    packages: 'external',
    // `sideEffects: false` in package.json is true of the build, not of these scripts.
    ignoreAnnotations: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'warning',
  })
}
