import type { TestScheduler } from 'rxjs/testing'
import type { Client, ClientOptions } from '../client/client.js'
import { type MemoryBroker, type MemoryBrokerOptions, memoryBroker } from '../drivers/memory/index.js'
import { ConfigurationError } from '../errors.js'
import type { ConsumeRecord } from '../record.js'
import { type Clock, TimerClock, VirtualClock } from './clock.js'
import { Letters } from './letters.js'
import type { MarbleHelpers, VirtualHelpers } from './marble-helpers.js'
import { MarbleInputs } from './marble-inputs.js'
import { MarbleOutputs } from './marble-outputs.js'
import { Members } from './members.js'
import { Sightings } from './sightings.js'

/** The broker of a run is made with these, but for its time, which is the run's. */
export interface MarbleOptions extends Omit<MemoryBrokerOptions, 'scheduler'> {
  /**
   * How long a run goes on after the end of its longest diagram, ms; default 10,000. It ends sooner when nothing is left
   * to happen. What happens later is not seen: operators such as `bufferTime` go on for ever.
   */
  readonly tail?: number
}

export interface PromisedMarbleOptions extends MarbleOptions {
  /**
   * Fires the fake timers that are due within so many ms, awaiting what they start: `vi.advanceTimersByTimeAsync` of
   * vitest, `jest.advanceTimersByTimeAsync`, `clock.tickAsync` of sinon. `Date` must be faked with them.
   */
  readonly advanceTimers: (ms: number) => Promise<unknown>
}

/**
 * A marble test of whole pipelines: the code under test and the real client, on a broker in this process. Records go in
 * as diagrams, and so do settlements, rebalances, outages and closing; deliveries, commits, copies, errors and states
 * come out as diagrams.
 *
 * By default it runs on RxJS's `TestScheduler`: all time is virtual, `delay`, `retry`, `bufferTime` and all that take
 * RxJS's own schedulers run unchanged, nothing waits, and the result is the same every time. Promises do not obey virtual
 * time: with `advanceTimers` it runs on fake timers instead, for handlers that await, and returns a promise.
 *
 * The clients it made are closed when it is over.
 *
 * @example
 * runMarbles(({ createClient, records, expectCommits }) => {
 *   createClient().topic('orders').pipe(delay(3), tap(record => record.ack())).subscribe()
 *   records('orders', '           a-b-----')
 *   expectCommits('orders').toBe('---1-2--')
 * })
 *
 * @throws An `Error` whose message is a picture, where a diagram differs from what was expected; what code under test
 * throws and nobody handles; `ConfigurationError` for a diagram or helper that makes no sense.
 */
export function runMarbles(
  test: (helpers: MarbleHelpers) => void | Promise<void>,
  options: PromisedMarbleOptions,
): Promise<void>
export function runMarbles(test: (helpers: MarbleHelpers & VirtualHelpers) => void, options?: MarbleOptions): void
export function runMarbles(
  test: (helpers: MarbleHelpers & VirtualHelpers) => void | Promise<void>,
  options: MarbleOptions & Partial<PromisedMarbleOptions> = {},
): void | Promise<void> {
  const { advanceTimers, tail = 10_000, ...brokerOptions } = options
  if (!(tail >= 0)) throw new ConfigurationError(`runMarbles: tail is a number of ms; it was ${tail}`)
  return advanceTimers === undefined
    ? runVirtually(test, tail, brokerOptions)
    : runOnTimers(test as (helpers: MarbleHelpers) => Promise<void>, tail, brokerOptions, advanceTimers)
}

/** Closing takes 25 s at most. */
const closingSeconds = 30

function runVirtually(
  test: (helpers: MarbleHelpers & VirtualHelpers) => void | Promise<void>,
  tail: number,
  options: MemoryBrokerOptions,
): void {
  const clock: VirtualClock = new VirtualClock((actual, expected) => run.compareSubscriptions(actual, expected))
  const run = new MarbleRun(clock, options)
  clock.run(({ animate, cold, expectSubscriptions, hot, time }) => {
    try {
      const flush = () => clock.flushUntil(run.begin() + tail)
      const returned = test({ ...run.helpers, animate, cold, expectSubscriptions, flush, hot, time }) as unknown
      if (returned instanceof Promise) {
        returned.catch(() => {})
        throw new ConfigurationError(
          'runMarbles: the test returned a promise, and in virtual time nobody can wait for it; give it advanceTimers',
        )
      }
      flush()
      run.end()
    } finally {
      run.closeClients()
      for (let second = 0; second < closingSeconds && !run.isClosed; second++) clock.flushUntil(clock.frame + 1_000)
      clock.maxFrames = -1
    }
  })
}

async function runOnTimers(
  test: (helpers: MarbleHelpers) => void | Promise<void>,
  tail: number,
  options: MemoryBrokerOptions,
  advanceTimers: (ms: number) => Promise<unknown>,
): Promise<void> {
  const clock = new TimerClock(advanceTimers)
  const run = new MarbleRun(clock, options)
  try {
    await test(run.helpers)
    await clock.advanceTo(run.begin() + tail)
    run.end()
  } finally {
    run.closeClients()
    for (let second = 0; second < closingSeconds && !run.isClosed; second++) await advanceTimers(1_000)
  }
}

/** One run: its broker, its clients, what was put in, what is expected, and what was seen. */
class MarbleRun {
  readonly #broker: MemoryBroker
  readonly #members: Members
  readonly #seen: Sightings
  readonly #inputs: MarbleInputs
  readonly #outputs: MarbleOutputs
  readonly #letters = new Letters()

  constructor(
    readonly clock: Clock,
    options: MemoryBrokerOptions,
  ) {
    this.#broker = memoryBroker({ ...options, scheduler: clock.scheduler })
    this.#members = new Members(this.#broker)
    this.#seen = new Sightings(clock, this.#broker)
    this.#inputs = new MarbleInputs(clock, this.#broker, this.#members, this.#letters)
    this.#outputs = new MarbleOutputs(clock, this.#members, this.#letters, this.#seen)
  }

  get helpers(): MarbleHelpers {
    return {
      broker: this.#broker,
      driver: () => this.#broker.driver(),
      createClient: (options = {}) => this.#createClient(options),
      ...this.#inputs.helpers,
      ...this.#outputs.helpers,
    }
  }

  /** As RxJS calls it. */
  readonly compareSubscriptions: TestScheduler['assertDeepEqual'] = (actual, expected) =>
    this.#outputs.compareSubscriptions(actual, expected)

  /** Starts the clients that are not started. Returns the frame where the longest diagram ends. */
  begin(): number {
    for (const { client, startsLater } of this.#members.all) {
      if (!startsLater) this.clock.at(0, () => this.#start(client))
    }
    return Math.max(this.#inputs.lastFrame, this.#outputs.lastFrame)
  }

  /** @throws What went wrong, or a picture of what is not as expected. */
  end(): void {
    this.#seen.over = true
    this.#inputs.end()
    if (this.#inputs.problems.length > 0) throw this.#inputs.problems[0]
    this.#outputs.throwUnlessMet(this.#inputs.context)
  }

  closeClients(): void {
    this.#seen.over = true
    this.#broker.reconnect()
    for (const { client } of this.#members.all) client.close()
  }

  get isClosed(): boolean {
    return this.#members.all.every(({ client }) => client.currentState === 'closed')
  }

  #createClient(options: ClientOptions): Client {
    const { client } = this.#members.add(options)
    this.#seen.watch(client, record => {
      const place = { ...placeOf(record), topic: this.#members.fullName(client, record.topic) }
      this.#inputs.delivered(this.#letters.of(place, record.value).mark, record)
    })
    return client
  }

  /** One without topics only publishes, and needs no start. */
  #start(client: Client): void {
    if (client.currentState === 'idle' && this.#seen.consumers.has(client)) client.start()
  }
}

function placeOf({ topic, partition, offset }: ConsumeRecord<unknown>) {
  return { topic, partition, offset }
}
