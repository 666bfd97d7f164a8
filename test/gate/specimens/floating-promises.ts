// Each line violates the lint rule that its comment names.
class Client {
  #work: Promise<number> | undefined = Promise.resolve(1)
  retire(): void {
    void this.#work?.then(one => one + 1) // no-floating-promises
  }
}

async function work(): Promise<void> {}

export function all(on: (listener: () => void) => void, items: number[]): Client {
  work() // no-floating-promises
  void work() // no-floating-promises
  on(async () => work()) // no-misused-promises
  items.forEach(async () => work()) // no-misused-promises
  work().catch(() => {})
  return new Client()
}
