import { defer, EMPTY, mergeMap, type Observable, type SchedulerLike, throwError, timer } from 'rxjs'
import type { Client, ClientOptions } from '../client/client.js'
import type { MemoryBroker } from '../drivers/memory/index.js'
import { ConfigurationError } from '../errors.js'
import { isPromise } from '../operators/is-promise.js'
import { checkInteger, checkOptions } from '../options.js'
import { type ConsumeRecord, deliveryOf } from '../record.js'
import type { Choices } from './choices.js'
import type { Clock } from './clock.js'
import { rowsOf } from './history-rows.js'
import { firstBroken } from './invariants.js'
import { type Letters, nameOf, type Place } from './letters.js'
import type { FateNote } from './marble-inputs.js'
import type { Members } from './members.js'
import { type Context, drawing } from './picture.js'
import type { History, HistoryCheck, HistoryEntry, Scenario, Simulation } from './scenario.js'
import { watchSettlement } from './settlements.js'

/** A guarantee of the library was violated. For code that catches it, it is an ordinary `Error`. */
export class BrokenInvariant extends Error {
  constructor(
    readonly rule: string,
    message: string,
  ) {
    super(message)
  }
}

type Unframed<E> = E extends unknown ? Omit<E, 'frame'> : never

/** One scenario in one run: what it is built with, its choices, and its history. */
export class Playing {
  readonly entries: HistoryEntry[] = []
  readonly clients: Client[] = []
  /** Full names of the topics that clients registered. */
  readonly topics = new Set<string>()
  /** Clients that consume. */
  readonly consumers = new Set<Client>()
  /** True: the run is over, and nothing more is recorded. */
  over = false
  readonly #dead = new Set<number>()
  readonly #deliveries = new WeakMap<object, { readonly letter: string; readonly client: Client }>()

  constructor(
    readonly clock: Clock,
    readonly broker: MemoryBroker,
    readonly members: Members,
    readonly letters: Letters,
    readonly choices: Choices,
    readonly createClient: (options: ClientOptions) => Client,
  ) {
    broker.written.subscribe(record => {
      // Read later, because a record put in gets its letter only after it is written.
      const letter = () => this.letters.ofStored(record).mark
      this.#add({
        what: 'written',
        record,
        get letter() {
          return letter()
        },
      })
    })
    broker.commits.subscribe(commit => this.#add({ what: 'committed', commit }))
  }

  /** Builds the scenario. */
  perform(scenario: Scenario): readonly Client[] {
    refusePromise('the scenario', scenario(this.#simulation))
    return this.clients
  }

  /** A client was made. */
  joined(client: Client): void {
    const at = this.clients.push(client) - 1
    client.events.subscribe(event => this.#add({ what: 'event', client: at, event }))
    client.errors.subscribe(error => this.#add({ what: 'error', client: at, error }))
    const topic = client.topic as (...args: unknown[]) => ReturnType<Client['topic']>
    client.topic = ((...args: unknown[]) => {
      const records = topic.apply(client, args)
      // A pattern says nothing about which topics there are.
      const names = [args[0]].flat().filter(name => typeof name === 'string')
      for (const name of names) this.topics.add(this.members.fullName(client, name))
      this.consumers.add(client)
      return records
    }) as Client['topic']
  }

  fated({ client, ...fate }: FateNote): void {
    const at = this.clients.indexOf(client)
    this.#add({ ...fate, client: at })
    if (fate.what === 'killed') this.#dead.add(at)
  }

  /** A record is about to be delivered to its subscriber. */
  delivered(client: Client, record: ConsumeRecord<unknown>, place: Place): void {
    const letter = this.letters.known(place) ?? nameOf(place)
    const of = { client: this.clients.indexOf(client), record, letter }
    const delivery = deliveryOf(record)
    if (delivery !== undefined) this.#deliveries.set(delivery, { letter, client })
    this.#add({ what: 'delivered', ...of })
    watchSettlement(record, settlement =>
      this.#add(
        settlement.what === 'acked' ? { what: 'acked', ...of } : { what: 'failed', ...of, reason: settlement.reason },
      ),
    )
  }

  /**
   * Judges the run.
   *
   * @throws `BrokenInvariant`, or what `check` throws. `ConfigurationError` if `check` returns a promise.
   */
  judge(check: HistoryCheck): void {
    const broken = firstBroken(this.entries, {
      groupOf: client => this.members.groupOf(this.clients[client]!),
      fullName: (client, topic) => this.members.fullName(this.clients[client]!, topic),
      exists: ({ topic, partition, offset }) =>
        this.broker.records(topic).some(record => record.partition === partition && record.offset === offset),
      isExempt: topic => topic === this.members.topic('dlqTopic'),
    })
    if (broken !== undefined) throw new BrokenInvariant(broken.rule, broken.message)
    refusePromise('the check', check(this.history))
  }

  get history(): History {
    return { broker: this.broker, clients: this.clients, entries: this.entries }
  }

  /** The inputs and the history, with common columns. */
  picture(context: readonly Context[]): string {
    const rows = [...context, ...rowsOf(this.entries, this.letters, this.members, this.clients)]
    return drawing(rows.filter(({ marks }) => marks.length > 0))
  }

  get #simulation(): Simulation {
    const sim: Simulation = {
      broker: this.broker,
      createClient: (options = {}) => this.createClient(options),
      delay: (record, max = 10) => this.choices.delay(this.#nameOf(record), atMost('delay', max)),
      fails: (record, max = 1) => this.choices.fails(this.#nameOf(record), atMost('fails', max)),
      pick: (name, values) => {
        if (values.length === 0) throw new ConfigurationError(`pick '${name}': there is nothing to pick from`)
        return values[this.choices.pick(name, values.length)]!
      },
      work: (record, options = {}) => {
        checkOptions('work', options, { delay: true, failures: true })
        const { delay, failures } = options
        return defer((): Observable<never> => {
          const [ms, fails] = [sim.delay(record, delay), sim.fails(record, failures)]
          const end = fails ? throwError(() => new Error(`${this.#nameOf(record)} fails`)) : EMPTY
          return ms === 0 ? end : timer(ms, this.#timeOf(record)).pipe(mergeMap(() => end))
        })
      },
    }
    return sim
  }

  #nameOf(record: ConsumeRecord<unknown>): string {
    return this.#deliveryOf(record).letter
  }

  /** The scheduler of the client that has the record, so that work stops while its process is suspended. */
  #timeOf(record: ConsumeRecord<unknown>): SchedulerLike {
    const { client } = this.#deliveryOf(record)
    return this.members.all.find(member => member.client === client)?.driver.scheduler ?? this.clock.scheduler
  }

  #deliveryOf(record: ConsumeRecord<unknown>) {
    const delivery = deliveryOf(record)
    const known = delivery && this.#deliveries.get(delivery)
    if (known === undefined)
      throw new ConfigurationError('a choice is made for a record that a client of the run delivered')
    return known
  }

  #add(entry: Unframed<HistoryEntry>): void {
    // Nothing counts that a killed process still does here for a while.
    if (this.over || ('client' in entry && this.#dead.has(entry.client))) return
    // The entry itself and not a copy, because `letter` of a written record is read later.
    this.entries.push(Object.assign(entry, { frame: this.clock.now() }) as HistoryEntry)
  }
}

function atMost(what: string, max: number): number {
  checkInteger(`${what}: at most`, max, 0)
  return max
}

/** A promise would be ignored, and with it a check that fails. */
function refusePromise(what: string, returned: unknown): void {
  if (!isPromise(returned)) return
  returned.then(undefined, () => {})
  throw new ConfigurationError(`${what} returned a promise; it must do its work synchronously, in virtual time`)
}
