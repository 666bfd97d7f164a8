import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Measurement, Task } from './row.js'
import { compiled, type Script } from './scripts.js'

/** Prints its measurement as JSON, given the task as JSON behind its other arguments. */
export interface Program {
  /** The program and its first arguments. Rejects with `Unavailable` when this machine lacks it. */
  readonly command: () => Promise<readonly string[]>
}

const run = promisify(execFile)

/** One of the compiled scripts, in a Node without a parent between it and us: what is killed is the script. */
export const script = (name: Script, args: readonly string[], node = process.execPath): readonly string[] => [
  node,
  compiled(name),
  ...args,
]

/** One run. It is killed when it takes longer than anybody could need. */
export async function measured(command: readonly string[], task: Task): Promise<Measurement> {
  const [program, ...args] = command
  const { stdout } = await run(program!, [...args, JSON.stringify(task)], {
    timeout: 300_000,
    killSignal: 'SIGKILL',
  })
  return JSON.parse(stdout)
}
