import { fileURLToPath } from 'node:url'

export const here = fileURLToPath(new URL('.', import.meta.url))

/** What runs in a process of its own, and where it is found there: each beside the packages that it imports. */
export const scripts = {
  contender: '.compiled/contender',
  'core-run': '.compiled/core-run',
  'peers/platformatic': 'peers/.compiled/platformatic',
}

export type Script = keyof typeof scripts

/** One of them, compiled. */
export const compiled = (script: Script): string => `${here}${scripts[script]}.js`
