/** Ends everything that a test has begun, newest first. For table tests, which get no test context. */
export class Scope implements AsyncDisposable {
  readonly #ends: (() => unknown)[] = []
  readonly onTestFinished = (end: () => unknown): void => void this.#ends.unshift(end)

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ends) await end()
  }
}
