/** What the process ends with: scripts tell the outcomes apart by it. */
export const exitCode = { done: 0, failed: 1, wrongUse: 2, refused: 3 } as const

/** Ends the command with a message on stderr and an exit code, without a stack. */
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
