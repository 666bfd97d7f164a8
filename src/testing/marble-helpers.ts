import type { RunHelpers } from 'rxjs/testing'
import type { Client, ClientOptions } from '../client/client.js'
import type { Driver } from '../driver.js'
import type { BrokerRecord, FaultyRequest, MemoryBroker } from '../drivers/memory/index.js'
import type { ClientEvent } from '../events.js'
import type { ScenarioChoices } from './choices.js'
import type { Diagrams } from './expectation.js'
import type { HistoryCheck, Scenario } from './scenario.js'

/** What a letter's record is made of; what is left out is the letter as value and nothing else. */
export type RecordContent =
  | string
  | (Omit<BrokerRecord, 'value' | 'partition'> & { readonly value?: BrokerRecord['value'] })

/** Of one client of the run alone; default: of all that the run made. */
export interface OfClient {
  readonly client?: Client
}

/** Marks and the classes of errors they stand for; the first that fits. */
export type ErrorMarks = Readonly<Record<string, abstract new (...args: never[]) => Error>>
/** Marks and the events they stand for; what is not named is not seen. */
export type EventMarks = Readonly<Record<string, ClientEvent['type']>>

/**
 * What a marble test is told with. A column of a diagram is a frame of 1 ms; spaces are none. What is put in at a frame
 * happens before everything that follows from it, and with a latency of 0 it all happens in that frame.
 *
 * Topics are the broker's names: with a suffix, if clients have one.
 */
export interface MarbleHelpers {
  /** The broker of the run. */
  readonly broker: MemoryBroker

  /**
   * A client on the run's broker, started at frame 0 unless `start` says when, and closed when the run is over. Defaults:
   * `group: 'group'`, `retryTopic: 'retry'`, `dlqTopic: 'dlq'`, `commitInterval: 0` (a position is committed in the frame
   * where it moves), no log, nothing read from the environment.
   */
  createClient(options?: ClientOptions): Client
  /** A connection to the run's broker, for clients that code under test makes and starts by itself. */
  driver(): Driver

  /**
   * Plays a scenario of `simulate`, with choices that were made before; those not given are 0. When the run is over, it
   * throws where the history breaks an invariant or does not pass `check`. Returns the clients that the scenario made.
   */
  play(scenario: Scenario, options?: ScenarioChoices & { readonly check?: HistoryCheck }): readonly Client[]

  // In.

  /**
   * Records written to a topic: each mark is one, its value the letter unless `contents` has it otherwise. An array has
   * one diagram per partition, and makes the topic with so many; one diagram alone lets keys decide, as Kafka does.
   */
  records(topic: string, marbles: Diagrams, contents?: Readonly<Record<string, RecordContent>>): void
  /** Acks the records with these letters, whoever holds them: the newest delivery, one of the same frame included. */
  ack(marbles: string): void
  /** Fails them, each with an `Error` of its letter unless `reasons` has another. */
  fail(marbles: string, reasons?: Readonly<Record<string, unknown>>): void
  /** Does something at the marks: one thing at each of them, or a different one by letter. */
  at(marbles: string, actions: (() => void) | Readonly<Record<string, () => void>>): void
  /** When a client is started, which is otherwise frame 0. */
  start(marbles: string, options?: OfClient): void
  /** `client.close()` at the mark. */
  close(marbles: string, options?: OfClient): void
  /** `client.closeGracefully()` at the mark; `timeout` in ms. */
  closeGracefully(marbles: string, options?: OfClient & { readonly timeout?: number }): void

  // Faults.

  /** A graceful rebalance at each mark that takes a partition of the topic from its member: of partition 0, or an array. */
  revoke(topic: string, marbles: Diagrams, options?: { readonly group?: string }): void
  /** The partition is lost at each mark: taken without asking. Its next owner follows by a rebalance. */
  lose(topic: string, marbles: Diagrams, options?: { readonly group?: string }): void
  /** The process of a client dies at the mark; its group goes on without it `after` ms, by default its `sessionTimeout`. */
  kill(marbles: string, options?: OfClient & { readonly after?: number }): void
  /**
   * The process of a client stands still from `^` to `!`, or for good. Its group goes on without it `after` ms, by default
   * its `sessionTimeout`, which it learns when it goes on.
   */
  freeze(marbles: string, options?: OfClient & { readonly after?: number }): void
  /** The wall clock of a client's machine is set at each mark, by so many ms; it dates what the client writes. */
  setClock(marbles: string, by: number | Readonly<Record<string, number>>, options?: OfClient): void
  /** The broker is away from `^` to `!`, or for good. */
  outage(marbles: string): void
  /** At each mark: the next request of that kind after it fails, with the error of its letter; default one that may pass later. */
  failNext(kind: FaultyRequest, marbles: string, errors?: Readonly<Record<string, unknown>>): void

  // Out. A string is one diagram for all partitions, an array has one per partition.

  /** Records handed to the topic's subscriber, first deliveries and later ones, by the letters they were published as. */
  expectDeliveries(topic: string, options?: OfClient): DiagramExpectation
  /**
   * Positions that groups committed, where they moved: `3` says that offset 3 is the next to read. Positions of 10 and
   * more need marks of their own, in `positions`.
   */
  expectCommits(topic: string, options?: CommitsOf): DiagramExpectation
  /** Copies written to the retry topic, by the letters of the records they are copies of. */
  expectRetries(): DiagramExpectation
  /** Copies written to the DLQ topic, likewise. */
  expectDeadLetters(): DiagramExpectation
  /** Everything written to a topic: letters of records and their copies, otherwise values of one character. */
  expectPublished(topic: string, values?: Readonly<Record<string, string>>): DiagramExpectation
  /** `client.errors`; without marks every error is an `x`. An error that no class fits is a `?`. */
  expectErrors(marks?: ErrorMarks, options?: OfClient): DiagramExpectation
  /** `client.events`, those that have a mark, of one topic or of all. */
  expectEvents(marks: EventMarks, options?: OfClient & { readonly topic?: string }): DiagramExpectation
  /** `client.state` by first letters: `i`dle, `s`tarting, `r`unning, `d`raining, `c`losed; `(isr)` at frame 0. */
  expectState(options?: OfClient): DiagramExpectation
  /** As in RxJS's own `RunHelpers`. */
  readonly expectObservable: RunHelpers['expectObservable']
}

/** RxJS's own helpers; there in virtual time alone. */
export type VirtualHelpers = Pick<RunHelpers, 'animate' | 'cold' | 'expectSubscriptions' | 'flush' | 'hot' | 'time'>

export interface CommitsOf {
  /** Default: any group. */
  readonly group?: string
  /** Marks for positions, where a digit does not do. */
  readonly positions?: Readonly<Record<string, number>>
}

export interface DiagramExpectation {
  /** What the diagram is to be once the run is over; one that is never told is not compared. */
  toBe(marbles: Diagrams): void
}
