import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import type { Measurement, Task } from './row.js'

/** Prints its measurement as JSON, given the task as JSON behind its other arguments. */
export interface Program {
  /** The program and its first arguments. Rejects with `Unavailable` when this machine lacks it. */
  readonly command: () => Promise<readonly string[]>
}

const run = promisify(execFile)
const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const tsconfig = fileURLToPath(new URL('./tsconfig.json', import.meta.url))

/** A script in TypeScript, in a Node without a parent between it and us: what is killed is the script. */
export const script = (file: string, args: readonly string[], node = process.execPath): readonly string[] => [
  ...[node, '--import', loader, fileURLToPath(new URL(file, import.meta.url))],
  ...args,
]

/** One run. It is killed when it takes longer than anybody could need. */
export async function measured(command: readonly string[], task: Task): Promise<Measurement> {
  const [program, ...args] = command
  const { stdout } = await run(program!, [...args, JSON.stringify(task)], {
    timeout: 300_000,
    killSignal: 'SIGKILL',
    env: { ...process.env, TSX_TSCONFIG_PATH: tsconfig },
  })
  return JSON.parse(stdout)
}
