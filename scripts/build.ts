// Compiled by TypeScript itself, twice, file by file: what is published reads like the sources, and no optimiser stands
// between the code that is tested and the code that runs (see docs/decisions.md).
import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'

rmSync('dist', { recursive: true, force: true })
for (const project of ['tsconfig.build.json', 'tsconfig.build.cjs.json']) {
  execFileSync('npx', ['tsc', '-p', project], { stdio: 'inherit' })
}
writeFileSync('dist/cjs/package.json', '{ "type": "commonjs" }\n')
