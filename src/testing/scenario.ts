import type { Observable } from 'rxjs'
import type { Client, ClientOptions } from '../client/client.js'
import type { GroupCommit, MemoryBroker, StoredRecord } from '../drivers/memory/index.js'
import type { RxMikaError } from '../errors.js'
import type { ClientEvent } from '../events.js'
import type { ConsumeRecord } from '../record.js'

/** What a scenario uses to build its pipelines. */
export interface Simulation {
  /** The broker of the run. */
  readonly broker: MemoryBroker
  /**
   * Makes a client on that broker, with the defaults of `runMarbles`: `group: 'group'`, `retryTopic: 'retry'`,
   * `dlqTopic: 'dlq'`, `commitInterval: 0`, no log. The run starts and closes it. Make several for a group of several members.
   */
  createClient(options?: ClientOptions): Client
  /** How long some work on the record takes: from 0 to `max` ms, default 10. Each call makes a new choice. */
  delay(record: ConsumeRecord<unknown>, max?: number): number
  /** Whether this attempt at the record fails. True for the first 0 to `max` calls per record (default 1), then false. */
  fails(record: ConsumeRecord<unknown>, max?: number): boolean
  /** Work on the record, as a handler may return it: takes its `delay`, then fails or completes as `fails` says. */
  work(
    record: ConsumeRecord<unknown>,
    options?: { readonly delay?: number | undefined; readonly failures?: number | undefined },
  ): Observable<never>
  /** One of the values, the same one for a name throughout the run. A minimal schedule has the first value, if possible. */
  pick<T>(name: string, values: readonly T[]): T
}

/** Builds the pipelines under test: makes clients and subscribes to their topics. Time starts when it returns. */
export type Scenario = (sim: Simulation) => void

interface When {
  /** ms from the beginning of the run. */
  readonly frame: number
}

export interface Whose extends When {
  /** The index of the client, in the order in which the scenario made them. */
  readonly client: number
}

interface Delivery extends Whose {
  readonly record: ConsumeRecord<unknown>
  /** The letter of the original record in the diagrams; its place if it has none. */
  readonly letter: string
}

/** Something that happened in a run. Switch on `what`. */
export type HistoryEntry =
  /** A record was written to the broker: an input, a retry, a dead letter, or one that a pipeline published. */
  | (When & { readonly what: 'written'; readonly record: StoredRecord; readonly letter: string })
  /** A record was delivered to its topic's subscriber. */
  | (Delivery & { readonly what: 'delivered' })
  /** A record was acked. Of several settlements of a delivery, only the first is in the history. */
  | (Delivery & { readonly what: 'acked' })
  /** A record was failed. */
  | (Delivery & { readonly what: 'failed'; readonly reason: unknown })
  /** A group committed a position. */
  | (When & { readonly what: 'committed'; readonly commit: GroupCommit })
  /** A client emitted an event on `events`. */
  | (Whose & { readonly what: 'event'; readonly event: ClientEvent })
  /** A client emitted an error on `errors`. */
  | (Whose & { readonly what: 'error'; readonly error: RxMikaError })
  /** The client's process was killed. */
  | (Whose & { readonly what: 'killed' })
  /** The group rebalanced without a client whose process was frozen. */
  | (Whose & { readonly what: 'expelled' })
  /** The wall clock of the client's machine was set. It now shows `wall` ms since 1970. */
  | (Whose & { readonly what: 'clock set'; readonly wall: number })

/** A finished run, for a check. */
export interface History {
  /** The broker after the run: `broker.lag(group, topic)`, `broker.records(topic)`. */
  readonly broker: MemoryBroker
  /** In the order in which the scenario made them. Not closed yet. */
  readonly clients: readonly Client[]
  /** Everything that happened, in order. */
  readonly entries: readonly HistoryEntry[]
}

/** Checks a run, and throws if something is wrong. Use any assertion library. */
export type HistoryCheck = (history: History) => void
