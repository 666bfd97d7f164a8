import { knownOfBroker } from '../drivers/memory/broker-options.js'
import type { MemoryBrokerOptions } from '../drivers/memory/index.js'
import { ConfigurationError } from '../errors.js'
import { checkDuration, checkFunction, checkOptions, type KnownOptions } from '../options.js'
import { TimerClock, VirtualClock } from './clock.js'
import type { MarbleHelpers, VirtualHelpers } from './marble-helpers.js'
import { MarbleRun } from './marble-run.js'
import { PromiseWatch } from './promise-watch.js'

/** The options of the run, and of its broker except the scheduler. */
export interface MarbleOptions extends Omit<MemoryBrokerOptions, 'scheduler'> {
  /**
   * How long a run continues after the end of its longest diagram, ms; default 10,000. It ends sooner if nothing is left to
   * happen. Later events are not seen: operators such as `bufferTime` never end.
   */
  readonly tail?: number | undefined
}

/** The options of a run whose code under test uses promises or timers. */
export interface PromisedMarbleOptions extends MarbleOptions {
  /**
   * Fires the fake timers that are due within so many ms, and awaits what they start: `vi.advanceTimersByTimeAsync` of
   * vitest, `jest.advanceTimersByTimeAsync`, `clock.tickAsync` of sinon. `Date` and `performance` must be faked as well.
   */
  readonly advanceTimers: (ms: number) => Promise<unknown>
}

const { scheduler: _, ...ofBroker } = knownOfBroker
const known: KnownOptions<PromisedMarbleOptions> = { ...ofBroker, tail: true, advanceTimers: true }

/**
 * Runs a marble test of whole pipelines: the code under test and the real client, on an in-process broker. Records,
 * settlements, rebalances, outages and closes are inputs in marble diagrams; deliveries, commits, copies, errors and states
 * are outputs in marble diagrams.
 *
 * By default it runs on RxJS's `TestScheduler`. All time is virtual: `delay`, `retry`, `bufferTime` and everything else on
 * RxJS's own schedulers works unchanged, nothing waits, and every run has the same result. Promises do not obey virtual
 * time. For handlers that await, pass `advanceTimers`: then the test runs on fake timers, and `runMarbles` returns a promise.
 *
 * The clients of the test are closed at its end.
 *
 * @example
 * runMarbles(({ createClient, records, expectCommits }) => {
 *   createClient().topic('orders').pipe(delay(3), tap(record => record.ack())).subscribe()
 *   records('orders', '           a-b-----')
 *   expectCommits('orders').toBe('---1-2--')
 * })
 *
 * @throws An `Error` with a picture if a diagram differs from what was expected; an unhandled exception of the code under
 * test; `ConfigurationError` for an invalid diagram or helper call.
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
  checkFunction('runMarbles: the test', test)
  checkOptions('runMarbles', options, known)
  const { advanceTimers, tail = 10_000, ...brokerOptions } = options
  checkDuration('runMarbles: tail', tail)
  if (advanceTimers !== undefined) checkFunction('runMarbles: advanceTimers', advanceTimers)
  return advanceTimers === undefined
    ? runTest(test, tail, brokerOptions)
    : runOnTimers(test as (helpers: MarbleHelpers) => Promise<void>, tail, brokerOptions, advanceTimers)
}

/** Longer than closing takes, which is at most 25 s. */
const closingSeconds = 30

function runTest(
  test: (helpers: MarbleHelpers & VirtualHelpers) => void | Promise<void>,
  tail: number,
  options: MemoryBrokerOptions,
): void {
  runVirtually(options, (run, rxjs, clock) => {
    const promises = new PromiseWatch()
    const flush = () => promises.during(() => clock.flushUntil(run.begin() + tail))
    const returned = test({ ...run.helpers, ...rxjs, flush }) as unknown
    if (returned instanceof Promise) {
      returned.catch(() => {})
      throw new ConfigurationError(
        'runMarbles: the test returned a promise, which never resolves in virtual time; give it advanceTimers',
      )
    }
    flush()
    run.end(promises.seen)
  })
}

/** Makes a run in virtual time, passes it to `perform`, and always closes its clients. */
export function runVirtually(
  options: MemoryBrokerOptions,
  perform: (run: MarbleRun, rxjs: Omit<VirtualHelpers, 'flush'>, clock: VirtualClock) => void,
): void {
  const clock: VirtualClock = new VirtualClock((actual, expected) => run.compareSubscriptions(actual, expected))
  const run = new MarbleRun(clock, options)
  clock.run(({ animate, cold, expectSubscriptions, hot, time }) => {
    try {
      perform(run, { animate, cold, expectSubscriptions, hot, time }, clock)
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
