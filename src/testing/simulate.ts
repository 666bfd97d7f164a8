import { knownOfBroker } from '../drivers/memory/broker-options.js'
import type { MemoryBrokerOptions } from '../drivers/memory/index.js'
import { ConfigurationError } from '../errors.js'
import { checkFunction, checkInteger, checkOptions, invalid, type KnownOptions } from '../options.js'
import { Choices, essential } from './choices.js'
import type { MarbleRun } from './marble-run.js'
import type { Context } from './picture.js'
import { BrokenInvariant, type Playing } from './playing.js'
import { PromiseWatch } from './promise-watch.js'
import { runVirtually } from './run-marbles.js'
import type { HistoryCheck, Scenario } from './scenario.js'
import {
  drawLatency,
  drawSchedule,
  everyFault,
  type Fault,
  type Schedule,
  type SimulatedFaults,
  type SimulatedTopic,
  type Stage,
} from './schedule.js'
import { linesOf, perform } from './script.js'
import { smaller } from './shrink.js'
import { Site } from './site.js'
import { literal, testText } from './test-text.js'

/** The options of a simulation, and of the broker of each run except the scheduler. */
export interface SimulateOptions extends Omit<MemoryBrokerOptions, 'scheduler'> {
  /** Builds the pipelines under test. Give the function a name: the test that is printed for a failure refers to it. */
  readonly scenario: Scenario
  /** Checks each run, after the invariants that are always checked. */
  readonly check?: HistoryCheck | undefined
  /** The seed of the first run, an integer; the next runs have the next seeds. Default 1, so that the runs are always the same. */
  readonly seed?: number | undefined
  /** The number of runs; default 1,000. */
  readonly runs?: number | undefined
  /** Topics to write records to, by their full names; default: every topic that the scenario registers. */
  readonly topics?: Readonly<Record<string, SimulatedTopic>> | undefined
  /** The faults, and how often each may happen in a run; kinds that are absent do not happen. Default: each kind at most once. */
  readonly faults?: SimulatedFaults | undefined
  /** The longest latency of requests to the broker in a run, ms; default 3. */
  readonly latency?: number | undefined
  /** How long a run continues after its last input, ms of its own time; default 10,000. */
  readonly tail?: number | undefined
}

const { scheduler: _, ...ofBroker } = knownOfBroker
const known: KnownOptions<SimulateOptions> = {
  ...ofBroker,
  scenario: true,
  check: true,
  seed: true,
  runs: true,
  topics: true,
  faults: true,
  latency: true,
  tail: true,
}
const knownOfTopic: KnownOptions<SimulatedTopic> = { partitions: true, records: true, contents: true }
const knownOfFaults: KnownOptions<SimulatedFaults> = {
  revoke: true,
  lose: true,
  kill: true,
  closeGracefully: true,
  outage: true,
  produce: true,
  commit: true,
  fetch: true,
  freeze: true,
  setClock: true,
}

/** The counts of a simulation, as evidence that it did something. */
export interface SimulationReport {
  /** How many runs there were. */
  readonly runs: number
  /** How many records were delivered in all runs. */
  readonly deliveries: number
  /** How many faults had an effect, by kind. */
  readonly faults: Readonly<Partial<Record<Fault['kind'], number>>>
}

/** A few runs may deliver nothing by chance: they have no records, or their members are killed. */
const enoughRuns = 10

/** The maximum of runs to find a smaller schedule. */
const maxShrinkRuns = 2_000

/**
 * Runs pipelines under random schedules in virtual time. A schedule decides when records arrive and clients start, how long
 * requests and work take, what fails, and when rebalances, lost partitions, killed members and outages happen. The same seed
 * always gives the same run.
 *
 * Every run is checked: nothing is lost (a position passes only records that were acked, discarded, or copied to the retry or
 * DLQ topic), no position is lowered, and no completed record is delivered again unless its partition was lost or a member
 * was killed since. `check` adds what the pipeline guarantees.
 *
 * A failing schedule is shrunk as far as it still fails for the same reason.
 *
 *
 * @example
 * simulate({
 *   scenario: sim => {
 *     const client = sim.createClient()
 *     client.topic('orders', { retries: 1, dlq: true }).pipe(handle(record => sim.work(record))).subscribe()
 *   },
 *   check: ({ broker }) => expect(broker.lag('group', 'orders')).toBe(0),
 * })
 *
 * @throws An `Error` that shows the seed, what is wrong, the smallest schedule found as marble diagrams, and a marble test
 * that fails in the same way; its `cause` is the first failure. `ConfigurationError` for invalid options, for a scenario or a
 * check that returns a promise, and if ten runs or more show nothing: no record was delivered, or none was settled because
 * handlers return promises. An exception of the scenario itself.
 */
export function simulate(options: SimulateOptions): SimulationReport {
  const simulator = new Simulator(options)
  const { seed = 1, runs = 1_000 } = options
  let [settled, written] = [0, 0]
  let seedWithDeliveries = seed
  const report = { runs, deliveries: 0, faults: {} as Partial<Record<Fault['kind'], number>> }
  for (let at = seed; at < seed + runs; at++) {
    const outcome = simulator.draw(at)
    if (outcome.failure !== undefined) throw explained(simulator.shrink(outcome), at, outcome, options)
    if (report.deliveries === 0) seedWithDeliveries = at
    written += outcome.schedule.records.length
    report.deliveries += outcome.deliveries
    settled += outcome.settled
    for (const { kind } of outcome.schedule.faults) report.faults[kind] = (report.faults[kind] ?? 0) + 1
  }
  if (report.deliveries === 0 && runs >= enoughRuns) {
    const what = written === 0 ? 'no records were written' : `${written} records were written and none was delivered`
    throw new ConfigurationError(
      `simulate: ${what} in ${runs} runs: the scenario must subscribe to topics, and those of a pattern are named by the option topics`,
    )
  }
  if (report.deliveries > 0 && settled === 0 && simulator.makesPromises(seedWithDeliveries)) {
    throw new ConfigurationError(
      `simulate: ${report.deliveries} records were delivered and none was settled: the scenario makes promises, and in virtual time no promise settles; return an Observable, such as sim.work(record)`,
    )
  }
  return report
}

interface Failure {
  /** Equal for runs that fail for the same reason. */
  readonly reason: string
  readonly error: unknown
  readonly picture: string
}

/** The outcome of a run. */
interface Outcome {
  /** The schedule as it was run, without faults that had no effect and choices that were not used. */
  readonly schedule: Schedule
  readonly topics: Stage['topics']
  readonly deliveries: number
  /** How many records were acked or failed. */
  readonly settled: number
  readonly failure: Failure | undefined
}

type Failed = Outcome & { readonly failure: Failure }

class Simulator {
  readonly #broker: MemoryBrokerOptions
  readonly #tail: number
  readonly #latency: number
  #promises: PromiseWatch | undefined

  constructor(readonly options: SimulateOptions) {
    checkOptions('simulate', options, known)
    const {
      scenario,
      check,
      seed = 1,
      runs = 1_000,
      topics = {},
      faults = {},
      latency = 3,
      tail = 10_000,
      ...broker
    } = options
    checkFunction('simulate: scenario', scenario)
    if (check !== undefined) checkFunction('simulate: check', check)
    if (!Number.isSafeInteger(seed)) throw invalid('simulate: seed', seed, 'must be an integer')
    checkInteger('simulate: runs', runs, 0)
    checkInteger('simulate: latency', latency, 0)
    checkInteger('simulate: tail', tail, 0)
    checkOptions('simulate: faults', faults, knownOfFaults)
    for (const [fault, times] of Object.entries(faults)) {
      if (times !== undefined) checkInteger(`simulate: faults.${fault}`, times, 0)
    }
    if (typeof topics !== 'object' || topics === null) throw invalid('simulate: topics', topics, 'must be an object')
    for (const [topic, of] of Object.entries(topics)) {
      checkOptions(`simulate: topic '${topic}'`, of, knownOfTopic)
      const { partitions = 1, records = 0, contents } = of
      checkInteger(`simulate: topic '${topic}': partitions`, partitions, 1)
      checkInteger(`simulate: topic '${topic}': records`, records, 0)
      if (contents !== undefined) checkFunction(`simulate: topic '${topic}': contents`, contents)
    }
    this.#broker = broker
    this.#tail = tail
    this.#latency = latency
  }

  /** Runs the schedule of a seed. */
  draw(seed: number): Outcome {
    const latency = drawLatency(seed, this.#latency)
    return this.#run(latency, new Choices({}, seed), stage => drawSchedule(seed, latency, stage))
  }

  /** Whether code of the scenario makes promises in the run of a seed. Its own method, because watching them takes time. */
  makesPromises(seed: number): boolean {
    this.#promises = new PromiseWatch()
    this.draw(seed)
    return this.#promises.seen
  }

  /** The smallest schedule found that fails for the same reason. Deterministic. */
  shrink(outcome: Outcome): Failed {
    let smallest = outcome as Failed
    let left = maxShrinkRuns
    const tryNext = () => {
      for (const schedule of smaller(smallest.schedule)) {
        if (left-- <= 0) return false
        const next = this.#replay(schedule)
        if (next.failure?.reason !== smallest.failure.reason) continue
        smallest = next as Failed
        return true
      }
      return false
    }
    // The schedule leaves out faults without effect. Check that it still fails without them.
    const again = this.#replay(outcome.schedule)
    if (again.failure?.reason !== smallest.failure.reason) return smallest
    smallest = again as Failed
    while (tryNext());
    return smallest
  }

  #replay(schedule: Schedule): Outcome {
    return this.#run(schedule.latency, new Choices(schedule.choices), () => schedule)
  }

  #run(latency: number, choices: Choices, scheduleFor: (stage: Stage) => Schedule): Outcome {
    let outcome: Outcome | undefined
    runVirtually({ ...this.#broker, latency }, (run, _, clock) => {
      const playing = run.play(choices)
      playing.perform(this.options.scenario)
      const stage = this.#stageOf(playing)
      const schedule = scheduleFor(stage)
      const faults = new Map<Context, Fault>()
      for (const line of linesOf(schedule, stage.topics)) {
        const at = run.context.length
        perform(line, run.helpers, playing.clients)
        for (const input of run.context.slice(at)) if (line.fault !== undefined) faults.set(input, line.fault)
      }
      const failure = this.#failureOf(run, playing, faults, () => clock.flushUntil(run.begin() + this.#tail))
      outcome = {
        schedule: {
          ...schedule,
          faults: schedule.faults.filter(fault => [...faults.values()].includes(fault)),
          choices: essential(choices.made),
        },
        topics: stage.topics,
        deliveries: playing.entries.filter(({ what }) => what === 'delivered').length,
        settled: playing.entries.filter(({ what }) => what === 'acked' || what === 'failed').length,
        failure,
      }
    })
    return outcome!
  }

  /** @param faults Faults without effect are removed from it. */
  #failureOf(run: MarbleRun, playing: Playing, faults: Map<Context, Fault>, flush: () => void): Failure | undefined {
    try {
      if (this.#promises === undefined) flush()
      else this.#promises.during(flush)
      run.stopWatching()
      for (const { error, input } of run.problems) {
        const fault = input && faults.get(input)
        if (fault === undefined) throw error
        for (const [other, same] of faults) if (same === fault) faults.delete(other)
      }
      playing.judge(this.options.check ?? (() => {}))
      return undefined
    } catch (error) {
      run.stopWatching()
      return { reason: reasonOf(error), error, picture: playing.picture(run.context) }
    }
  }

  #stageOf({ clients, consumers, topics: registered }: Playing): Stage {
    const { faults = everyFault } = this.options
    const topics: Readonly<Record<string, SimulatedTopic>> =
      this.options.topics ?? Object.fromEntries([...registered].map(name => [name, {}]))
    return {
      topics: new Map(
        Object.entries(topics).map(([name, { partitions = 2, records = 6, contents = (letter: string) => letter }]) => [
          name,
          { partitions, records, contents },
        ]),
      ),
      faults,
      consumers: clients.flatMap((client, at) => (consumers.has(client) ? [at] : [])),
    }
  }
}

/** The rule of an invariant; for other errors where they were thrown, because messages differ from run to run. */
function reasonOf(error: unknown): string {
  if (error instanceof BrokenInvariant) return error.rule
  if (!(error instanceof Error)) return typeof error
  const frames = (error.stack ?? '').split('\n').filter(line => /^\s+at /.test(line))
  return `${error.name} ${frames.find(line => !/node_modules|node:/.test(line)) ?? ''}`
}

function explained(smallest: Failed, seed: number, first: Outcome, options: SimulateOptions): Error {
  const { error, picture } = smallest.failure
  const drawn = `${first.schedule.records.length} records and ${first.schedule.faults.length} faults`
  const message = [
    `simulate: seed ${seed}: ${error instanceof Error ? error.message : String(error)}`,
    picture,
    `The smallest schedule found that fails so; drawn were ${drawn}. To run that alone: seed: ${seed}, runs: 1. As a test:`,
    asTest(smallest, seed, options).replace(/^/gm, '  '),
  ].join('\n\n')
  const failure = new Site(simulate).error(message)
  Object.defineProperty(failure, 'cause', { value: error, configurable: true, writable: true })
  return failure
}

/** The schedule as a marble test. */
function asTest({ schedule, topics, failure }: Failed, seed: number, options: SimulateOptions): string {
  const { scenario, check, seed: _, runs, topics: __, faults, latency, ...rest } = options
  const lines = linesOf(schedule, topics)
  const named = (fn: { readonly name: string }, otherwise: string) => (fn.name === '' ? otherwise : fn.name)
  const choices = Object.entries(schedule.choices).map(([name, of]) => `${name}: ${literal(of)}`)
  const settings = [...(check === undefined ? [] : [checkSetting(named(check, 'check'))]), ...choices]
  const play = `play(${[named(scenario, 'scenario'), ...(settings.length === 0 ? [] : [`{ ${settings.join(', ')} }`])].join(', ')})`
  const needsClients = lines.some(line => line.options?.client !== undefined)
  const what = failure.error instanceof BrokenInvariant ? failure.error.rule : 'fails its check'
  return testText({
    title: `seed ${seed}: ${what}`,
    opening: [needsClients ? `const clients = ${play}` : play],
    helpers: ['play'],
    lines,
    options: { latency: schedule.latency === 0 ? undefined : schedule.latency, ...rest },
  })
}

function checkSetting(name: string): string {
  return name === 'check' ? 'check' : `check: ${name}`
}
