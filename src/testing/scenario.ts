import type { Observable } from 'rxjs'
import type { Client, ClientOptions } from '../client/client.js'
import type { GroupCommit, MemoryBroker, StoredRecord } from '../drivers/memory/index.js'
import type { RxMikaError } from '../errors.js'
import type { ClientEvent } from '../events.js'
import type { ConsumeRecord } from '../record.js'

/** What a scenario is built with. */
export interface Simulation {
  /** The broker of the run. */
  readonly broker: MemoryBroker
  /**
   * A client on that broker, with the defaults of `runMarbles`: `group: 'group'`, `retryTopic: 'retry'`,
   * `dlqTopic: 'dlq'`, `commitInterval: 0`, no log. It is started and closed by the run. Make several for several members.
   */
  createClient(options?: ClientOptions): Client
  /** How long this piece of work on the record takes: from 0 to `most` ms, default 10. Each call chooses anew. */
  delay(record: ConsumeRecord<unknown>, most?: number): number
  /** Whether this attempt at the record fails: true from 0 to `most` times for each record, default 1, then false. */
  fails(record: ConsumeRecord<unknown>, most?: number): boolean
  /** Work on the record: takes its `delay`, then fails or completes, as `fails` says. What a handler may return. */
  work(
    record: ConsumeRecord<unknown>,
    options?: { readonly delay?: number; readonly failures?: number },
  ): Observable<never>
  /** One of the values, the same one for a name throughout the run; a minimal schedule has the first, if it can. */
  pick<T>(name: string, values: readonly T[]): T
}

/** Builds the pipelines under test: makes clients, subscribes to their topics. Time begins when it returns. */
export type Scenario = (sim: Simulation) => void

interface When {
  /** ms from the beginning of the run. */
  readonly frame: number
}

export interface Whose extends When {
  /** Which client, in the order in which the scenario made them; the first is 0. */
  readonly client: number
}

interface Delivery extends Whose {
  readonly record: ConsumeRecord<unknown>
  /** The record first published, by the letter in the diagrams, or its place where it has none. */
  readonly letter: string
}

/** Something that happened in a run. Switch on `what`. */
export type HistoryEntry =
  /** Any record, as the broker writes it: one that was put in, a retry, a dead letter, or what a pipeline publishes. */
  | (When & { readonly what: 'written'; readonly record: StoredRecord; readonly letter: string })
  /** Handed to its topic's subscriber. */
  | (Delivery & { readonly what: 'delivered' })
  /** Settled; calls that came second or too late are not in it. */
  | (Delivery & { readonly what: 'acked' })
  | (Delivery & { readonly what: 'failed'; readonly reason: unknown })
  /** A position that a group committed. */
  | (When & { readonly what: 'committed'; readonly commit: GroupCommit })
  | (Whose & { readonly what: 'event'; readonly event: ClientEvent })
  | (Whose & { readonly what: 'error'; readonly error: RxMikaError })
  /** The client's process died. */
  | (Whose & { readonly what: 'killed' })
  /** The group went on without a client whose process was frozen. */
  | (Whose & { readonly what: 'expelled' })
  /** The wall clock of the client's machine was set; it shows `wall` ms since 1970 now. */
  | (Whose & { readonly what: 'clock set'; readonly wall: number })

/** A run that is over, for a check to judge. */
export interface History {
  /** As the run left it: `broker.lag(group, topic)`, `broker.records(topic)`. */
  readonly broker: MemoryBroker
  /** In the order in which the scenario made them. They are not closed yet. */
  readonly clients: readonly Client[]
  /** Everything, in the order in which it happened. */
  readonly entries: readonly HistoryEntry[]
}

/** Judges a run: throws what is wrong with it. Every assertion library does. */
export type HistoryCheck = (history: History) => void
