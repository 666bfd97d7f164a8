import { fileURLToPath } from 'node:url'

export const here = fileURLToPath(new URL('.', import.meta.url))

/** The scripts that run in their own process, and their compiled files. Each is below the node_modules that it imports from. */
export const scripts = {
  contender: '.compiled/contender',
  'core-run': '.compiled/core-run',
  'peers/platformatic': 'peers/.compiled/platformatic',
}

export type Script = keyof typeof scripts

/** The path of the compiled script. */
export const compiled = (script: Script): string => `${here}${scripts[script]}.js`
