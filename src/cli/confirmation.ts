import { createInterface } from 'node:readline/promises'
import type { Surroundings } from './context.js'
import { CommandFailure, exitCode } from './failure.js'

/**
 * Asks on the terminal before something is done.
 *
 * @throws CommandFailure if the answer is not yes, or if there is no terminal to ask on.
 */
export async function confirmed(question: string, { stdin, stderr, interrupted }: Surroundings): Promise<void> {
  if (!stdin.isTTY || !stderr.isTTY) {
    throw new CommandFailure('nothing was done: without a terminal to ask on, --yes is needed', exitCode.refused)
  }
  const asking = createInterface({ input: stdin, output: stderr })
  // Ctrl-C and Ctrl-D. Readline reads the terminal, so the process gets no signal.
  const unanswered = new Promise<string>(resolve => {
    asking.on('SIGINT', () => resolve(''))
    asking.on('close', () => resolve(''))
    interrupted.addEventListener('abort', () => resolve(''))
  })
  try {
    const answer = await Promise.race([asking.question(`${question} [y/N] `), unanswered])
    if (!/^y(es)?$/i.test(answer.trim())) throw new CommandFailure('nothing was done', exitCode.refused)
  } finally {
    asking.close()
  }
}
