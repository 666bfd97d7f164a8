/** The user has asked the command to end: Ctrl-C or SIGTERM. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError'

  constructor(signal: string) {
    super(`interrupted by ${signal}`)
  }
}

const signals = ['SIGINT', 'SIGTERM'] as const

/**
 * Runs `work` with a signal that is aborted by the first Ctrl-C or SIGTERM, with an `InterruptedError`. So a command can end
 * what it has begun, such as a transaction. The second one ends the process at once.
 */
export async function interruptible<T>(
  process: Pick<NodeJS.Process, 'on' | 'off'>,
  work: (interrupted: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController()
  const listeners = signals.map(signal => {
    const listener = () => {
      ignore()
      controller.abort(new InterruptedError(signal))
    }
    process.on(signal, listener)
    return [signal, listener] as const
  })
  const ignore = () => {
    for (const [signal, listener] of listeners) process.off(signal, listener)
  }
  try {
    return await work(controller.signal)
  } finally {
    ignore()
  }
}
