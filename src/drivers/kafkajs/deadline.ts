/** No answer in time. What was asked for may yet happen. */
export class DeadlineError extends Error {
  override name = 'DeadlineError'
}

/** The outcome of `promise`, or a `DeadlineError` after `ms`. kafkajs waits without bound for some things. */
export function within<T>(ms: number, promise: Promise<T>, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new DeadlineError(`${what}: no answer within ${ms} ms`)), ms)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

export function pass(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
