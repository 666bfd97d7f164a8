import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

export interface StrictProcess {
  readonly process: ChildProcess
  /** Resolves when it has ended and all of its output is there. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
}

/**
 * Runs a TypeScript program in its own process. The test fails if it writes to stderr: a crash, an unhandled rejection or a
 * warning. Programs of the suites write nothing else there.
 *
 * @param stdio The third, stderr, is a pipe in any case.
 */
export function spawnStrictly(
  program: string,
  args: readonly string[],
  options: { readonly stdio: StdioOptions & readonly unknown[] },
): StrictProcess {
  const stdio = options.stdio.with(2, 'pipe') as StdioOptions
  const child = spawn(process.execPath, ['--import', 'tsx', program, ...args], { cwd: root, stdio })
  let stderr = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    process.stderr.write(text)
  })
  const exited: StrictProcess['exited'] = new Promise(resolve => {
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
  onTestFinished(() => {
    expect(stderr, `stderr of ${program}`).toBe('')
  })
  return { process: child, exited }
}
