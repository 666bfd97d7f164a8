/** What a test has begun, ended newest first: for tests of a table, which are given no context. */
export class Scope implements AsyncDisposable {
  readonly #ends: (() => unknown)[] = []
  readonly onTestFinished = (end: () => unknown): void => void this.#ends.unshift(end)

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ends) await end()
  }
}
