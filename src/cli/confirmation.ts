import { createInterface } from 'node:readline/promises'
import { CommandFailure, exitCode } from './failure.js'

/**
 * Asks on the terminal before something is done.
 *
 * @throws CommandFailure when the answer is no, or there is no terminal to ask on.
 */
export async function confirmed(question: string, { yes }: { readonly yes?: boolean }): Promise<void> {
  if (yes === true) return
  if (!process.stdin.isTTY)
    throw new CommandFailure('nothing was done: without a terminal to ask on it needs --yes', exitCode.refused)
  const asking = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await asking.question(`${question} [y/N] `)
    if (!/^y(es)?$/i.test(answer.trim())) throw new CommandFailure('nothing was done', exitCode.refused)
  } finally {
    asking.close()
  }
}
