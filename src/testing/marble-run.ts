import type { TestScheduler } from 'rxjs/testing'
import type { Client, ClientOptions } from '../client/client.js'
import { type MemoryBroker, type MemoryBrokerOptions, memoryBroker } from '../drivers/memory/index.js'
import { ConfigurationError } from '../errors.js'
import type { ConsumeRecord } from '../record.js'
import { Aftermath } from './aftermath.js'
import { Choices } from './choices.js'
import type { Clock } from './clock.js'
import { checkingOptions } from './helper-options.js'
import { Letters } from './letters.js'
import type { MarbleHelpers } from './marble-helpers.js'
import { MarbleInputs } from './marble-inputs.js'
import { MarbleOutputs } from './marble-outputs.js'
import { Members } from './members.js'
import type { Context } from './picture.js'
import { BrokenInvariant, Playing } from './playing.js'
import type { HistoryCheck } from './scenario.js'
import { Sightings } from './sightings.js'

/** One run: its broker, clients, inputs, expectations, and what was seen. */
export class MarbleRun {
  readonly #broker: MemoryBroker
  readonly #members: Members
  readonly #seen: Sightings
  readonly #inputs: MarbleInputs
  readonly #outputs: MarbleOutputs
  readonly #letters = new Letters()
  #hasOtherClients = false
  #playing: Playing | undefined
  #expectsHistory: HistoryCheck | undefined

  constructor(
    readonly clock: Clock,
    options: MemoryBrokerOptions,
  ) {
    this.#broker = memoryBroker({ ...options, scheduler: clock.scheduler })
    this.#members = new Members(this.#broker)
    this.#seen = new Sightings(clock, this.#broker)
    this.#inputs = new MarbleInputs(clock, this.#broker, this.#members, this.#letters, fate =>
      this.#playing?.fated(fate),
    )
    this.#outputs = new MarbleOutputs(clock, this.#members, this.#letters, this.#seen)
  }

  get helpers(): MarbleHelpers {
    return checkingOptions({
      broker: this.#broker,
      driver: () => {
        this.#hasOtherClients = true
        return this.#broker.driver()
      },
      createClient: (options = {}) => this.#createClient(options),
      play: (scenario, { check, ...choices } = {}) => {
        this.#expectsHistory = check ?? (() => {})
        return this.play(new Choices(choices)).perform(scenario)
      },
      ...this.#inputs.helpers,
      ...this.#outputs.helpers,
    })
  }

  /** Lets a scenario be played in this run: only one, and before any other client is made. */
  play(choices: Choices): Playing {
    if (this.#playing !== undefined || this.#members.all.length > 0) {
      throw new ConfigurationError('a run plays one scenario, before it makes any other client')
    }
    this.#playing = new Playing(this.clock, this.#broker, this.#members, this.#letters, choices, options =>
      this.#createClient(options),
    )
    return this.#playing
  }

  /** The inputs, as rows of a picture. */
  get context(): readonly Context[] {
    return this.#inputs.context
  }

  get problems() {
    return this.#inputs.problems
  }

  /** Named as in RxJS. */
  readonly compareSubscriptions: TestScheduler['assertDeepEqual'] = (actual, expected) =>
    this.#outputs.compareSubscriptions(actual, expected)

  /** Starts the clients that are not started yet. Returns the frame where the longest diagram ends. */
  begin(): number {
    for (const { client, startsLater } of this.#members.all) {
      if (!startsLater) this.clock.at(0, () => this.#start(client))
    }
    return Math.max(this.#inputs.lastFrame, this.#outputs.lastFrame)
  }

  /**
   * @param promises In virtual time: whether a promise was made during the run.
   * @throws the first problem, or an `Error` with a picture of what differs.
   */
  end(promises = false): void {
    this.stopWatching()
    this.#inputs.end()
    const aftermath = () =>
      new Aftermath(this.#members, this.#letters, this.#seen, {
        killed: this.#inputs.killed,
        written: this.#inputs.topics,
        hasOtherClients: this.#hasOtherClients,
        promises,
      })
    const [problem] = this.problems
    if (problem !== undefined)
      throw problem.unmet ? withHints(problem.error as Error, aftermath().whyUndelivered) : problem.error
    this.#judgeHistory()
    this.#outputs.throwUnlessMet(this.context, () => aftermath().text)
  }

  #judgeHistory(): void {
    if (this.#playing === undefined || this.#expectsHistory === undefined) return
    try {
      this.#playing.judge(this.#expectsHistory)
    } catch (error) {
      if (!(error instanceof BrokenInvariant)) throw error
      throw new Error(`${error.message}\n\n${this.#playing.picture(this.context)}`)
    }
  }

  /** Ignores everything that comes after this. */
  stopWatching(): void {
    this.#seen.over = true
    if (this.#playing !== undefined) this.#playing.over = true
  }

  closeClients(): void {
    this.stopWatching()
    this.#broker.reconnect()
    this.#inputs.thaw()
    for (const { client } of this.#members.all) client.close()
  }

  get isClosed(): boolean {
    return this.#members.all.every(({ client }) => client.currentState === 'closed')
  }

  #createClient(options: ClientOptions): Client {
    const { client } = this.#members.add(options)
    this.#seen.watch(client, record => {
      const place = { ...placeOf(record), topic: this.#members.fullName(client, record.topic) }
      this.#playing?.delivered(client, record, place)
      this.#inputs.delivered(this.#letters.of(place, record.value).mark, record)
    })
    this.#playing?.joined(client)
    return client
  }

  /** A client without topics only publishes, and needs no start. */
  #start(client: Client): void {
    if (client.currentState === 'idle' && this.#seen.consumers.has(client)) client.start()
  }
}

/** The error with hints; the same error if there are none. */
function withHints(error: Error, hints: readonly string[]): Error {
  return hints.length === 0 ? error : new Error([error.message, ...hints.map(hint => `  ${hint}`)].join('\n'))
}

function placeOf({ topic, partition, offset }: ConsumeRecord<unknown>) {
  return { topic, partition, offset }
}
