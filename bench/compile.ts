import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = fileURLToPath(new URL('.', import.meta.url))

/** What runs in a process of its own, and where it is found there: each beside the packages that it imports. */
const scripts = {
  contender: '.compiled/contender',
  'core-run': '.compiled/core-run',
  'peers/platformatic': 'peers/.compiled/platformatic',
}

export type Script = keyof typeof scripts

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

export const compiled = (script: Script): string => `${here}${scripts[script]}.js`
