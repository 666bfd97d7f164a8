/** Exit codes of the process. */
export const exitCode = { done: 0, failed: 1, wrongUse: 2, refused: 3 } as const

/** An error that ends the command with a message on stderr, without a stack, and with an exit code. */
export class CommandFailure extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2 | 3,
    options?: { readonly cause?: unknown },
  ) {
    super(message, options)
    this.name = 'CommandFailure'
  }
}

export function wrongUse(message: string): CommandFailure {
  return new CommandFailure(message, exitCode.wrongUse)
}
