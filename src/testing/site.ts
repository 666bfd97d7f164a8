/** The place in a test where an expectation was written, for test runners to point at. */
export class Site {
  readonly #stack: string

  /** @param below The function whose caller is meant. */
  constructor(below: (...args: never[]) => unknown) {
    const here: { stack?: string } = {}
    Error.captureStackTrace(here, below)
    this.#stack = here.stack ?? ''
  }

  error(message: string): Error {
    const error = new Error(message)
    error.stack = `Error: ${message}\n${this.#stack.slice(this.#stack.indexOf('\n') + 1)}`
    return error
  }
}
