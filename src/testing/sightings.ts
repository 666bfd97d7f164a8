import { tap } from 'rxjs'
import type { Client } from '../client/client.js'
import type { TopicRecords } from '../client/topic-records.js'
import type { GroupCommit, MemoryBroker, StoredRecord } from '../drivers/memory/index.js'
import type { RxMikaError } from '../errors.js'
import type { ClientEvent, ClientState } from '../events.js'
import type { ConsumeRecord } from '../record.js'
import type { Clock } from './clock.js'

/** Something seen, and when. */
export interface Seen<T> {
  readonly frame: number
  readonly value: T
}

/** What was seen of one client, with which of its own it was. */
export interface SeenOf<T> extends Seen<T> {
  readonly client: Client
}

/** A topic as a client registered it, and whether anybody has subscribed to it. */
export interface Registered {
  readonly client: Client
  /** A pattern by its source; of a list each name for itself. */
  readonly topic: string
  readonly pattern: RegExp | undefined
  subscribed: boolean
}

/** Everything that was seen in a run, until it is over. Kept as it came; what a diagram shows of it is decided later. */
export class Sightings {
  readonly written: Seen<StoredRecord>[] = []
  readonly commits: Seen<GroupCommit>[] = []
  readonly deliveries: SeenOf<ConsumeRecord<unknown>>[] = []
  readonly errors: SeenOf<RxMikaError>[] = []
  readonly events: SeenOf<ClientEvent>[] = []
  readonly states: SeenOf<ClientState>[] = []
  /** Topics that clients registered, by the names that were given. */
  readonly registered: Registered[] = []
  /** Clients with a topic. */
  readonly consumers = new Set<Client>()
  /** What comes after the run is not looked at. */
  over = false

  constructor(
    readonly clock: Clock,
    broker: MemoryBroker,
  ) {
    broker.written.subscribe(value => this.#add(this.written, { value }))
    broker.commits.subscribe(value => this.#add(this.commits, { value }))
  }

  /** @param delivered Told of every record before its subscriber is. */
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

  /** @param names Full names of what is registered by name. */
  isRegistered(topic: string, names: readonly string[]): boolean {
    return names.includes(topic) || this.registered.some(({ pattern }) => pattern?.test(topic) === true)
  }

  #add<S extends object>(list: (S & { readonly frame: number })[], seen: S): void {
    if (!this.over) list.push({ ...seen, frame: this.clock.now() })
  }
}
