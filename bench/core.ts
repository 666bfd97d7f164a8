// Measures the library alone, without a Kafka. With `--against <commit>` it builds another commit too, and runs both in
// alternating order. On a busy machine only such a comparison is valid.
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { compile } from './compile.js'
import { cases } from './core-cases.js'
import { median } from './median.js'
import { compiled } from './scripts.js'

const { values: options } = parseArgs({
  options: {
    against: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
  },
})
const rounds = Number(options.rounds)
const names = Object.keys(cases).filter(name => name.includes(options.only))
const here = fileURLToPath(new URL('..', import.meta.url))
const run = promisify(execFile)

await compile()
const other = options.against === undefined ? undefined : checkOut(options.against)
try {
  const builds = new Map([['this', compileModules(here)]])
  if (other !== undefined) builds.set(options.against!, compileModules(other))
  const times = new Map(names.map(name => [name, new Map([...builds.keys()].map(build => [build, [] as number[]]))]))
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const turns = [...builds]
      for (const [build, folder] of round % 2 === 0 ? turns : turns.reverse()) {
        const { stdout } = await run(process.execPath, [compiled('core-run'), folder, name])
        times.get(name)!.get(build)!.push(Number(stdout))
      }
    }
    console.error(`round ${round + 1}/${rounds}`)
  }
  console.log(`ns a record, ${rounds} rounds, Node ${process.versions.node}`)
  console.table([...times].map(([name, byBuild]) => row(name, byBuild)))
} finally {
  if (other !== undefined) {
    execFileSync('git', ['worktree', 'remove', '--force', other], { cwd: here })
    rmSync(other, { recursive: true, force: true })
  }
}

function row(name: string, byBuild: ReadonlyMap<string, readonly number[]>) {
  const [own, against] = [...byBuild.values()]
  const figures = {
    case: name,
    median: Math.round(median(own!)),
    lowest: Math.round(Math.min(...own!)),
    highest: Math.round(Math.max(...own!)),
  }
  if (against === undefined) return figures
  return {
    ...figures,
    [options.against!]: Math.round(median(against)),
    ratio: Number((median(own!) / median(against)).toFixed(2)),
  }
}

/** Checks out the commit in a temporary worktree, which uses this worktree's node_modules. */
function checkOut(commit: string): string {
  const folder = join(mkdtempSync(join(tmpdir(), 'rxmika-')), 'tree')
  execFileSync('git', ['worktree', 'add', '--detach', folder, commit], { cwd: here, stdio: 'ignore' })
  symlinkSync(join(here, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** Compiles a worktree's modules without bundling them, because the cases import some that the package does not export. */
function compileModules(tree: string): string {
  const folder = join(tree, '.compiled', 'modules')
  const options = ['--noCheck', '--declaration', 'false', '--outDir', folder]
  execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json', ...options], { cwd: tree, stdio: 'inherit' })
  return folder
}
