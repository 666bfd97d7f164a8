import { readFileSync } from 'node:fs'

/** The version of the package. The build replaces this file by one that has the version in it: see scripts/build.ts. */
export function packageVersion(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version
}
