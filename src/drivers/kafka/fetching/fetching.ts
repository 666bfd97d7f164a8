import type { Clock } from '../../../clock.js'
import type { DriverEvent } from '../../../driver.js'
import { FetchError, type RxMikaError } from '../../../errors.js'
import type { Codecs } from '../../../protocol/records/codecs.js'
import type { Cluster } from '../cluster/cluster.js'
import { Doorbell } from '../doorbell.js'
import { RepeatLimit } from '../repeat-limit.js'
import { PartitionMap } from '../topic-partition.js'
import type { Lane } from '../transport/transport.js'
import { unexpected } from '../unexpected.js'
import type { Assignment } from './assignment.js'
import { BrokerFetcher } from './broker-fetcher.js'
import { UnreadWatch } from './unread-watch.js'

/** The same refusal of the same partition is reported at most this often, ms. */
const reportEvery = 60_000

/** What fetching uses of its consumption. */
export interface FetchingHost {
  readonly cluster: Cluster
  readonly clock: Clock
  readonly codecs: Codecs | undefined
  readonly rack: string | undefined
  /** The connections to fetch over. */
  readonly lane: Lane
  /** False while it is in doubt whether the assignments still belong to this member, and after the end. */
  readonly delivering: boolean
  emit(event: FetchingEvent): void
  /** Errors the stream: the failure cannot heal. */
  fail(error: RxMikaError): void
  /** The bytes at the position cannot be decoded. They are fetched again. Called once per position. */
  unreadable(error: FetchError): void
  /**
   * There is no record between the position and `end`: the broker had room in its answer and sent none. Absent: the position
   * stays until there is a record after the gap.
   */
  foundNothing?(assignment: Assignment, end: number): void
  /** The position is at the end of the log, according to the broker. */
  foundEnd?(assignment: Assignment): void
  /** This client may not read the topic. */
  forbidden(assignment: Assignment): void
  /** The position is not in the log, or the log is another one than was read. `diverged` is where they diverge, if the leader says so. */
  outOfRange(assignment: Assignment, diverged: Diverged | undefined): void
}

export type FetchingEvent = Extract<DriverEvent, { readonly type: 'batch' | 'trouble' }>

/** Where the log that was read and the current log diverge (KIP-595). */
export interface Diverged {
  readonly epoch: number
  readonly endOffset: number
}

/**
 * Fetches the assigned partitions, with one loop for each broker that leads any of them. Pauses and positions are stored
 * only on the assignments.
 */
export class Fetching {
  readonly assignments = new PartitionMap<Assignment>()
  /** Rings when a partition may be fetched that could not be fetched before. */
  readonly bell = new Doorbell()
  readonly #fetchers = new Map<number, BrokerFetcher>()
  readonly #stopWatching: () => void
  readonly #unread: UnreadWatch
  #ended = false

  constructor(readonly host: FetchingHost) {
    this.#stopWatching = host.cluster.onChange(() => this.wake())
    this.#unread = new UnreadWatch(this)
  }

  get ended(): boolean {
    return this.#ended
  }

  add(assignments: readonly Assignment[]): void {
    for (const assignment of assignments) this.assignments.set(assignment, assignment)
    this.wake()
  }

  remove(assignments: readonly Assignment[]): void {
    for (const assignment of assignments) {
      if (this.assignments.get(assignment) === assignment) this.assignments.delete(assignment)
    }
  }

  /** A partition may be fetched that could not be fetched before: it was resumed, its leader changed, or this member delivers again. */
  wake(): void {
    if (this.#ended) return
    for (const assignment of this.assignments.values()) {
      const node = this.nodeOf(assignment)
      if (node !== undefined && !this.#fetchers.has(node)) this.#start(node)
    }
    this.bell.ring()
  }

  /** The broker to fetch a partition from; `undefined` if none leads it. */
  nodeOf({ topic, partition, replica }: Assignment): number | undefined {
    const { cluster } = this.host
    if (replica !== undefined && cluster.addressOf(replica) !== undefined) return replica
    return cluster.leaderOf(topic, partition)
  }

  /** Whether the broker to fetch from throttles this client (KIP-219). */
  isThrottled(assignment: Assignment): boolean {
    const node = this.nodeOf(assignment)
    return node !== undefined && this.host.cluster.isThrottled(node, 'fetch')
  }

  /** The assignments to fetch from one broker, in the order they were assigned. */
  ledBy(node: number): Assignment[] {
    const led: Assignment[] = []
    for (const assignment of this.assignments.values()) if (this.nodeOf(assignment) === node) led.push(assignment)
    return led
  }

  #start(node: number): void {
    const fetcher = new BrokerFetcher(node, this)
    this.#fetchers.set(node, fetcher)
    fetcher
      .run()
      .then(() => {
        this.#fetchers.delete(node)
        this.wake()
      })
      .catch(cause => this.host.fail(unexpected(cause)))
  }

  readonly #limit = new RepeatLimit(reportEvery)

  /** Reports a failure, at most once a minute for the same partition and reason. */
  trouble(assignment: Assignment, why: string, cause?: unknown): void {
    const { topic, partition, next } = assignment
    if (!this.#limit.allows(`${topic}-${partition} ${why}`)) return
    const message = `${topic}-${partition}@${next} cannot be read: ${why}; it is tried again`
    const error = new FetchError(message, { cause, topic, partition, offset: BigInt(next) })
    this.host.emit({ type: 'trouble', error })
  }

  end(): void {
    this.#ended = true
    this.#stopWatching()
    this.#unread.end()
    this.bell.ring()
  }
}
