/** Where an expectation was written down: what a test runner points at. */
export class Site {
  readonly #stack: string

  /** @param below The function whose caller it is. */
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
