import type { RunHelpers } from 'rxjs/testing'
import type { Client, ClientOptions } from '../client/client.js'
import type { Driver } from '../driver.js'
import type { BrokerRecord, FaultyRequest, MemoryBroker } from '../drivers/memory/index.js'
import type { ClientEvent } from '../events.js'
import type { ScenarioChoices } from './choices.js'
import type { Diagrams } from './expectation.js'
import type { HistoryCheck, Scenario } from './scenario.js'

/** The content of a letter's record. Default: the letter as value, and nothing else. */
export type RecordContent =
  | string
  /** Any fields of a record. The value defaults to the letter. */
  | (Omit<BrokerRecord, 'value' | 'partition'> & { readonly value?: BrokerRecord['value'] | undefined })

/** Selects one client of the run. Default: all that the run made. */
export interface OfClient {
  /** The client; default: all that the run made. */
  readonly client?: Client | undefined
}

/** The error class of each mark. The first class that matches counts. */
export type ErrorMarks = Readonly<Record<string, abstract new (...args: never[]) => Error>>
/** The event type of each mark. Other events are not shown. */
export type EventMarks = Readonly<Record<string, ClientEvent['type']>>

/**
 * The helpers of a marble test. A column of a diagram is a frame of 1 ms; spaces do not count. An input at a frame happens
 * before its consequences. With a latency of 0, all of them happen in the same frame.
 *
 * Topics have their full names, with the suffix of the clients if they have one.
 */
export interface MarbleHelpers {
  /** The broker of the run. */
  readonly broker: MemoryBroker

  /**
   * Makes a client on the run's broker. It starts at frame 0, unless `start` says otherwise, and is closed when the run is
   * over. Defaults: `group: 'group'`, `retryTopic: 'retry'`, `dlqTopic: 'dlq'`, `commitInterval: 0` (a position is committed
   * in the frame in which it moves), no log, and an empty environment.
   */
  createClient(options?: ClientOptions): Client
  /** Makes a driver for the run's broker, for clients that the code under test makes and starts itself. */
  driver(): Driver

  /**
   * Plays a scenario of `simulate` with the given choices; others are 0. When the run is over, it throws if the history
   * breaks an invariant or does not pass `check`. Returns the clients that the scenario made.
   */
  play(scenario: Scenario, options?: ScenarioChoices & { readonly check?: HistoryCheck | undefined }): readonly Client[]

  // Inputs.

  /**
   * Writes records to a topic. Each mark is a record whose value is the letter, unless `contents` says otherwise. An array
   * has one diagram per partition, and creates the topic with as many partitions. With a single diagram, the partition is
   * chosen by the key, as in Kafka.
   */
  records(topic: string, marbles: Diagrams, contents?: Readonly<Record<string, RecordContent>>): void
  /** Acks the records with these letters: the latest delivery to any client, including one in the same frame. */
  ack(marbles: string): void
  /** Fails the records with these letters, each with an `Error` that names the letter unless `reasons` has another reason. */
  fail(marbles: string, reasons?: Readonly<Record<string, unknown>>): void
  /** Runs an action at each mark: the same one, or one by letter. */
  at(marbles: string, actions: (() => void) | Readonly<Record<string, () => void>>): void
  /** Starts a client at the mark instead of at frame 0. */
  start(marbles: string, options?: OfClient): void
  /** Calls `client.close()` at the mark. */
  close(marbles: string, options?: OfClient): void
  /** Calls `client.closeGracefully()` at the mark; `timeout` in ms. */
  closeGracefully(marbles: string, options?: OfClient & { readonly timeout?: number | undefined }): void

  // Faults.

  /** Starts a graceful rebalance at each mark that revokes a partition: partition 0, or one per diagram of an array. */
  revoke(topic: string, marbles: Diagrams, options?: { readonly group?: string | undefined }): void
  /** Takes the partition away at each mark, without asking its member. A rebalance assigns it to its next owner. */
  lose(topic: string, marbles: Diagrams, options?: { readonly group?: string | undefined }): void
  /** Kills the process of a client at the mark. Its group rebalances `after` ms; default its `sessionTimeout`. */
  kill(marbles: string, options?: OfClient & { readonly after?: number | undefined }): void
  /**
   * Suspends the process of a client from `^` to `!`, or for good. Its group rebalances without it `after` ms, by default its
   * `sessionTimeout`; the client learns that when it continues.
   */
  freeze(marbles: string, options?: OfClient & { readonly after?: number | undefined }): void
  /** Moves the wall clock of a client's machine at each mark, by so many ms. The clock dates what the client writes. */
  setClock(marbles: string, by: number | Readonly<Record<string, number>>, options?: OfClient): void
  /** Makes the broker unreachable from `^` to `!`, or for good. */
  outage(marbles: string): void
  /** Makes the next request of that kind after each mark fail with the error of its letter; default: a retriable error. */
  failNext(kind: FaultyRequest, marbles: string, errors?: Readonly<Record<string, unknown>>): void

  // Outputs. A string is one diagram for all partitions, an array has one per partition.

  /** Records delivered to the topic's subscriber, redeliveries included, by the letters they were published as. */
  expectDeliveries(topic: string, options?: OfClient): DiagramExpectation
  /**
   * Positions that groups committed, if they moved. `3` means that offset 3 is the next to read. Positions of 10 and more
   * need their own marks in `positions`.
   */
  expectCommits(topic: string, options?: CommitsOf): DiagramExpectation
  /** Copies written to the retry topic, by the letters of the records they are copies of. */
  expectRetries(): DiagramExpectation
  /** Copies written to the DLQ topic, by the letters of the records they are copies of. */
  expectDeadLetters(): DiagramExpectation
  /** Everything written to a topic: records and copies by their letters, others by values of one character. */
  expectPublished(topic: string, values?: Readonly<Record<string, string>>): DiagramExpectation
  /** `client.errors`. Without marks every error is an `x`. An error that no class matches is a `?`. */
  expectErrors(marks?: ErrorMarks, options?: OfClient): DiagramExpectation
  /** Those of `client.events` that have a mark, of one topic or of all. */
  expectEvents(marks: EventMarks, options?: OfClient & { readonly topic?: string | undefined }): DiagramExpectation
  /** `client.state` by first letters: `i`dle, `s`tarting, `r`unning, `d`raining, `c`losed; `(isr)` at frame 0. */
  expectState(options?: OfClient): DiagramExpectation
  /** As in RxJS's `RunHelpers`. */
  readonly expectObservable: RunHelpers['expectObservable']
}

/** RxJS's own helpers. They exist only in virtual time. */
export type VirtualHelpers = Pick<RunHelpers, 'animate' | 'cold' | 'expectSubscriptions' | 'flush' | 'hot' | 'time'>

/** The options of `MarbleHelpers.expectCommits`. */
export interface CommitsOf {
  /** Default: any group. */
  readonly group?: string | undefined
  /** Marks for positions that are not a single digit. */
  readonly positions?: Readonly<Record<string, number>> | undefined
}

/** What a diagram is compared with. */
export interface DiagramExpectation {
  /** The expected diagram, compared once the run is over. Without this call nothing is compared. */
  toBe(marbles: Diagrams): void
}
