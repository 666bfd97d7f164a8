import { tap } from 'rxjs'
import type { Client } from '../client/client.js'
import type { TopicRecords } from '../client/topic-records.js'
import type { GroupCommit, MemoryBroker, StoredRecord } from '../drivers/memory/index.js'
import type { RxMikaError } from '../errors.js'
import type { ClientEvent, ClientState } from '../events.js'
import type { ConsumeRecord } from '../record.js'
import type { Clock } from './clock.js'

/** Something that was seen, and its frame. */
export interface Seen<T> {
  readonly frame: number
  readonly value: T
}

/** Something that was seen of one client. */
export interface SeenOf<T> extends Seen<T> {
  readonly client: Client
}

/** A topic that a client registered, and whether it was subscribed to. */
export interface Registered {
  readonly client: Client
  /** A pattern by its source; one entry per name of a list. */
  readonly topic: string
  readonly pattern: RegExp | undefined
  subscribed: boolean
}

/** Everything that was seen in a run. It is stored unchanged; expectations select from it later. */
export class Sightings {
  readonly written: Seen<StoredRecord>[] = []
  readonly commits: Seen<GroupCommit>[] = []
  readonly deliveries: SeenOf<ConsumeRecord<unknown>>[] = []
  readonly errors: SeenOf<RxMikaError>[] = []
  readonly events: SeenOf<ClientEvent>[] = []
  readonly states: SeenOf<ClientState>[] = []
  /** The topics that clients registered, by the names that were given. */
  readonly registered: Registered[] = []
  /** Clients that registered a topic. */
  readonly consumers = new Set<Client>()
  /** True: the run is over, and nothing more is recorded. */
  over = false

  constructor(
    readonly clock: Clock,
    broker: MemoryBroker,
  ) {
    broker.written.subscribe(value => this.#add(this.written, { value }))
    broker.commits.subscribe(value => this.#add(this.commits, { value }))
  }

  /** @param delivered Called with every record before its subscriber gets it. */
  watch(client: Client, delivered: (record: ConsumeRecord<unknown>) => void): void {
    client.errors.subscribe(value => this.#add(this.errors, { value, client }))
    client.events.subscribe(value => this.#add(this.events, { value, client }))
    client.state.subscribe(value => this.#add(this.states, { value, client }))
    const topic = client.topic as (...args: unknown[]) => TopicRecords<ConsumeRecord<unknown>>
    client.topic = ((...args: unknown[]) => {
      const records = topic.apply(client, args)
      this.consumers.add(client)
      const registered = [args[0]].flat().map(
        (of): Registered => ({
          client,
          topic: String(of),
          pattern: of instanceof RegExp ? of : undefined,
          subscribed: false,
        }),
      )
      this.registered.push(...registered)
      return records.through(
        tap({
          subscribe: () => {
            for (const one of registered) one.subscribed = true
          },
          next: value => {
            this.#add(this.deliveries, { value, client })
            delivered(value)
          },
        }),
      )
    }) as Client['topic']
  }

  /** @param names Full names of topics registered by name. */
  isRegistered(topic: string, names: readonly string[]): boolean {
    return names.includes(topic) || this.registered.some(({ pattern }) => pattern?.test(topic) === true)
  }

  #add<S extends object>(list: (S & { readonly frame: number })[], seen: S): void {
    if (!this.over) list.push({ ...seen, frame: this.clock.now() })
  }
}
