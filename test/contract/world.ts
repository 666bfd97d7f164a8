import { randomUUID } from 'node:crypto'
import { lastValueFrom } from 'rxjs'
import { type Client, type ClientEvent, type ClientOptions, createClient, type Driver, type RxMikaError } from 'rxmika'
import { expect, it } from 'vitest'
import type { Backend, MortalDriver } from './backend'
import { Collected } from './collected'

export type Scenario = (title: string, play: (world: World) => Promise<void>) => void

/** Tests on a backend. Each has its own world, and fails on an unexpected error. */
export function scenarios(backend: Backend): Scenario {
  return (title, play) =>
    it(title, async () => {
      const world = new World(backend)
      try {
        await play(world)
      } finally {
        await world.end()
      }
      expect(world.unexpected.map(String)).toEqual([])
    })
}

/** The names and clients of one test. */
export class World {
  readonly #id = randomUUID().slice(0, 8)
  readonly #runs: Run[] = []
  /** Closed at the test's end. */
  readonly drivers: Driver[] = []

  constructor(readonly backend: Backend) {}

  /** Unique for each test. */
  name(base: string): string {
    return `${base}-${this.#id}`
  }

  async topic(base: string, partitions = 1): Promise<string> {
    const name = this.name(base)
    await this.backend.createTopic(name, partitions)
    return name
  }

  /** A client, closed at the test's end. */
  client(options: ClientOptions = {}): Run {
    return this.#run({ ...this.backend.connection(), ...options })
  }

  /** A client in a process that can be killed. */
  mortalClient(options: ClientOptions = {}): Run {
    const process = this.backend.mortalDriver()
    return this.#run({ driver: process.driver, ...options }, process)
  }

  #run(options: ClientOptions, process?: MortalDriver): Run {
    const run = new Run(
      createClient({ env: {}, logger: false, commitInterval: 10, heartbeatInterval: 200, ...options }),
      process,
    )
    this.#runs.push(run)
    return run
  }

  /** Errors that the test has not declared as expected. */
  get unexpected(): readonly RxMikaError[] {
    return this.#runs.flatMap(run =>
      run.errors.values.filter(error => !run.expected.some(kind => error instanceof kind)),
    )
  }

  async end(): Promise<void> {
    const closed = this.drivers.map(driver => lastValueFrom(driver.close(), { defaultValue: undefined }))
    await Promise.all([...closed, ...this.#runs.map(run => run.dead || run.client.close())])
  }
}

/** A client with its events, errors and states so far. */
export class Run {
  readonly errors: Collected<RxMikaError>
  readonly events: Collected<ClientEvent>
  /** The kinds of errors that the test provokes. */
  expected: readonly (abstract new (...args: never[]) => RxMikaError)[] = []
  dead = false

  constructor(
    readonly client: Client,
    readonly process: MortalDriver | undefined,
  ) {
    this.errors = new Collected(client.errors)
    this.events = new Collected(client.events)
  }

  /** Starts the client and resolves when it is running. */
  async start(): Promise<void> {
    this.client.start()
    await this.event('state', ({ state }) => state === 'running')
  }

  /** Resolves when such an event has been emitted. */
  async event<T extends ClientEvent['type']>(
    type: T,
    is: (event: Extract<ClientEvent, { type: T }>) => boolean = () => true,
  ): Promise<void> {
    const matches = (event: ClientEvent) => event.type === type && is(event as Extract<ClientEvent, { type: T }>)
    await this.events.until(events => events.some(matches))
  }

  /** Resolves when the broker has confirmed the position, or a later one. */
  committed(topic: string, partition: number, offset: number | bigint): Promise<void> {
    return this.event(
      'committed',
      event => event.topic === topic && event.partition === partition && event.offset >= BigInt(offset),
    )
  }

  kill(): Promise<void> {
    this.dead = true
    return this.process!.kill()
  }
}

/** Values as text. */
export function texts(
  records: readonly { readonly value: Buffer | null }[] | Collected<{ readonly value: Buffer | null }>,
): string[] {
  return (records instanceof Collected ? records.values : records).map(({ value }) => String(value))
}

/** `from` to `to - 1`, as records to publish. */
export function numbered(from: number, to: number, partition = 0) {
  return Array.from({ length: to - from }, (_, at) => ({ value: String(from + at), partition }))
}
