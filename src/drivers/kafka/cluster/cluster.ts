import type { Clock } from '../../../clock.js'
import { type KafkaError, kafkaError } from '../../../protocol/errors.js'
import {
  coordinatorType,
  findCoordinator,
  findOneCoordinator,
  foundCoordinator,
} from '../../../protocol/messages/find-coordinator.js'
import { metadata } from '../../../protocol/messages/metadata.js'
import type { AnyMessage, ResponseOf } from '../../../protocol/schema/message.js'
import { ZERO_UUID } from '../../../protocol/wire/uuid.js'
import { pause } from '../backoff.js'
import { type Address, shownAddress } from '../transport/address.js'
import type { RequestFor } from '../transport/connection.js'
import { RefusedConnectionError, UnansweredError } from '../transport/failures.js'
import type { Lane, Transport } from '../transport/transport.js'
import type { KnownTopic } from './metadata.js'
import { NewestTopics } from './newest-topics.js'
import { ProtocolFailure } from './protocol-failure.js'

/** How long a broker may take for requests that it answers at once, ms. */
export const requestTimeout = 10_000

export interface SendOptions {
  /** How long the broker may take to answer, ms. */
  readonly timeout?: number
  /** The newest version to use; default: the newest that both sides implement. */
  readonly maxVersion?: number | undefined
  /** How long it may be silent before that is reported, ms. */
  readonly quiet?: number | undefined
}

/** The shortest time between two metadata requests, ms, however many partitions report stale leaders. */
const minRefreshInterval = 100
/** The interval of metadata requests while a partition has no leader, ms. */
const leaderlessInterval = 500
/** The interval of metadata requests while a topic is missing, ms. */
const missingInterval = 2_000
/** After this time without metadata of a watched topic, it is requested, ms. Usually the watching code requests it earlier. */
const unansweredInterval = 500

/**
 * The metadata of brokers, watched topics and coordinators, kept up to date.
 *
 * Topics are watched by name. Watching never creates a topic.
 */
export class Cluster {
  readonly #brokers = new Map<number, Address>()
  readonly #topics = new Map<string, KnownTopic>()
  readonly #newest: NewestTopics
  readonly #names = new Map<string, string>()
  readonly #watched = new Map<string, number>()
  readonly #coordinators = new Map<string, Promise<number>>()
  readonly #listeners = new Set<() => void>()
  readonly #maxAgeListeners = new Set<() => void>()
  #maxAge: number
  readonly #ended = new AbortController()
  #refreshing: Promise<void> | undefined
  /** The topics of the refresh in flight, once it is sent. */
  #asking: ReadonlySet<string> | undefined
  #refreshedAt = Number.NEGATIVE_INFINITY
  /** When the last refresh ended, or topics began to be watched. */
  #currentAt = Number.NEGATIVE_INFINITY
  /** When a topic began to be watched. */
  #addedAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  constructor(
    readonly transport: Transport,
    readonly bootstrap: readonly Address[],
    readonly clock: Clock,
    maxAge: number,
  ) {
    this.#maxAge = maxAge
    this.#newest = new NewestTopics(clock)
  }

  get ended(): AbortSignal {
    return this.#ended.signal
  }

  /** Changes that no error points to are noticed within this time, ms. */
  get maxAge(): number {
    return this.#maxAge
  }

  /** Also applies to a wait that has begun. */
  set maxAge(ms: number) {
    if (ms === this.#maxAge) return
    this.#maxAge = ms
    if (this.#refreshing === undefined) this.#schedule()
    for (const listener of [...this.#maxAgeListeners]) listener()
  }

  /** Calls back whenever `maxAge` changes. Returns a function that ends that. */
  onMaxAge(listener: () => void): () => void {
    this.#maxAgeListeners.add(listener)
    return () => this.#maxAgeListeners.delete(listener)
  }

  // ── Metadata ─────────────────────────────────────────────────────────────────────────────────────────────────────

  topic(name: string): KnownTopic | undefined {
    return this.#topics.get(name)
  }

  /** The name of the topic with that id, if it is watched. */
  nameOf(id: string): string | undefined {
    return this.#names.get(id)
  }

  /** The leader of a partition; undefined if none is known. */
  leaderOf(topic: string, partition: number): number | undefined {
    const leader = this.#topics.get(topic)?.partitions[partition]?.leader
    return leader === undefined || leader < 0 ? undefined : leader
  }

  addressOf(node: number): Address | undefined {
    return this.#brokers.get(node)
  }

  /** Whether any broker is connected. If not, the outage is reported by other means. */
  get isConnected(): boolean {
    return this.transport.connected
  }

  /** Whether a broker has told this client to wait before its next request (KIP-219). */
  isThrottled(node: number, lane: Lane): boolean {
    const address = this.#brokers.get(node)
    return address !== undefined && this.transport.isThrottled(address, lane)
  }

  /** Calls back whenever metadata was received. Returns a function that ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  // ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sends a request to one broker. */
  ask<M extends AnyMessage>(
    node: number,
    lane: Lane,
    message: M,
    request: RequestFor<M>,
    { timeout = requestTimeout, maxVersion, quiet }: SendOptions = {},
  ): Promise<ResponseOf<M>> {
    const address = this.#brokers.get(node)
    if (address === undefined) {
      return Promise.reject(new Error(`broker ${node} is not among the brokers that the cluster names`))
    }
    return this.transport.send(address, lane, message, request, { timeout, maxVersion, quiet })
  }

  /** Opens a connection to one broker, if it is known. */
  async reach(node: number, lane: Lane): Promise<void> {
    const address = this.#brokers.get(node)
    if (address !== undefined) await this.transport.connection(address, lane)
  }

  /** Sends a request to any broker: the known ones in random order, then the bootstrap addresses, until one answers. */
  async askAny<M extends AnyMessage>(message: M, request: RequestFor<M>): Promise<ResponseOf<M>> {
    const failures: Error[] = []
    for (const address of this.#addresses()) {
      if (this.ended.aborted) break
      try {
        return await this.transport.send(address, 'control', message, request, { timeout: requestTimeout })
      } catch (error) {
        // One broker that refuses this client says nothing about the others.
        if (!(error instanceof UnansweredError || error instanceof RefusedConnectionError)) throw error
        failures.push(error)
      }
    }
    throw (
      failures.findLast(error => error instanceof UnansweredError) ??
      failures.at(-1) ??
      new Error('the client is closed')
    )
  }

  #addresses(): readonly Address[] {
    const known = shuffled([...this.#brokers.values()])
    const names = new Set(known.map(shownAddress))
    return [...known, ...shuffled(this.bootstrap.filter(address => !names.has(shownAddress(address))))]
  }

  // ── Topics ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Keeps the metadata of these topics up to date. Returns a function that ends that. */
  watch(names: Iterable<string>): () => void {
    const watched = [...names]
    const now = this.clock.monotonic()
    if (this.#watched.size === 0) this.#currentAt = now
    for (const name of watched) {
      if (!this.#watched.has(name)) this.#addedAt = now
      this.#watched.set(name, (this.#watched.get(name) ?? 0) + 1)
    }
    this.#schedule()
    return () => {
      for (const name of watched) {
        const count = this.#watched.get(name)! - 1
        if (count > 0) this.#watched.set(name, count)
        else {
          this.#watched.delete(name)
          this.#forget(name)
          this.#newest.forget(name)
        }
      }
    }
  }

  /**
   * Requests the present metadata of these topics, and of no others. For watched topics, an answer that is out of date is
   * replaced by what is known.
   *
   * @param create True: brokers may create topics that do not exist, if they are configured to.
   */
  async learn(names: readonly string[], { create = false } = {}): Promise<ReadonlyMap<string, KnownTopic>> {
    const answer = await this.askAny(metadata, {
      topics: names.map(name => ({ name })),
      allowAutoTopicCreation: create,
    })
    for (const { nodeId, host, port } of answer.brokers) this.#brokers.set(nodeId, { host, port })
    const nodes = new Set(answer.brokers.map(({ nodeId }) => nodeId))
    for (const node of this.#brokers.keys()) if (!nodes.has(node)) this.#brokers.delete(node)
    this.transport.keep([...this.#brokers.values(), ...this.bootstrap])
    const learnt = new Map<string, KnownTopic>()
    for (const { name, topicId, errorCode, partitions } of answer.topics) {
      if (name === null) continue
      const known: { leader: number; leaderEpoch: number }[] = []
      for (const { partitionIndex, leaderId, leaderEpoch } of partitions) {
        known[partitionIndex] = { leader: leaderId, leaderEpoch }
      }
      const error = errorCode === 0 ? undefined : kafkaError(errorCode)
      learnt.set(name, { name, id: topicId, partitions: Array.from(known, each => each ?? leaderless), error })
    }
    for (const topic of learnt.values()) learnt.set(topic.name, this.#store(topic))
    if (this.#refreshing === undefined) this.#schedule()
    for (const listener of [...this.#listeners]) listener()
    return learnt
  }

  /**
   * Which of these topics exist; without names, all topics except Kafka's internal ones. Does not change the known metadata.
   *
   * @returns for each name its error; undefined if it has none.
   */
  async lookUp(names: readonly string[] | undefined): Promise<ReadonlyMap<string, KafkaError | undefined>> {
    const topics = names === undefined ? null : names.map(name => ({ name }))
    const answer = await this.askAny(metadata, { topics, allowAutoTopicCreation: false })
    const found = new Map<string, KafkaError | undefined>()
    for (const { name, isInternal, errorCode, partitions } of answer.topics) {
      if (name === null || (names === undefined && isInternal)) continue
      // A topic with partitions exists, even if it has an error because a leader is missing.
      found.set(name, partitions.length > 0 ? undefined : kafkaError(errorCode))
    }
    return found
  }

  /** Stores an answer about a watched topic, unless it is out of date. Returns the topic as it is known after it. */
  #store(answer: KnownTopic): KnownTopic {
    if (!this.#watched.has(answer.name)) return answer
    const topic = this.#newest.take(answer)
    if (topic === undefined) return this.#topics.get(answer.name) ?? answer
    this.#forget(topic.name)
    this.#topics.set(topic.name, topic)
    if (topic.id !== ZERO_UUID) this.#names.set(topic.id, topic.name)
    return topic
  }

  #forget(name: string): void {
    const before = this.#topics.get(name)
    if (before === undefined) return
    this.#topics.delete(name)
    if (this.#names.get(before.id) === name) this.#names.delete(before.id)
  }

  /**
   * Refreshes the metadata of all watched topics. Concurrent calls share one request, unless a topic is watched that it does
   * not ask for. Rejects if no broker answers.
   */
  refresh(): Promise<void> {
    const underWay = this.#refreshing
    if (underWay !== undefined) return this.#asksForAll ? underWay : underWay.catch(() => {}).then(() => this.refresh())
    this.#refreshing = this.#refresh().finally(() => {
      this.#refreshing = undefined
      this.#asking = undefined
      this.#currentAt = this.clock.monotonic()
      this.#schedule()
    })
    return this.#refreshing
  }

  async #refresh(): Promise<void> {
    const wait = this.#refreshedAt + minRefreshInterval - this.clock.monotonic()
    if (wait > 0) await pause(wait, this.ended)
    this.#refreshedAt = this.clock.monotonic()
    this.#asking = new Set(this.#watched.keys())
    await this.learn([...this.#asking])
  }

  get #asksForAll(): boolean {
    const asking = this.#asking
    return asking === undefined || [...this.#watched.keys()].every(name => asking.has(name))
  }

  /**
   * Schedules the next refresh. Its time does not depend on when this is called, because topics may begin to be watched more
   * often than the metadata are refreshed.
   */
  #schedule(): void {
    clearTimeout(this.#timer)
    if (this.ended.aborted || this.#watched.size === 0) return
    const wait = Math.max(0, this.#dueAt - this.clock.monotonic())
    this.#timer = setTimeout(() => {
      // On failure, the code that needs the metadata requests it again and reports the error.
      this.refresh().catch(() => {})
    }, wait)
  }

  /** Soon while a partition has no leader, a topic is missing, or there was no answer about one. */
  get #dueAt(): number {
    const { maxAge } = this
    let wait = maxAge
    for (const { partitions } of this.#topics.values()) {
      if (partitions.some(({ leader }) => leader < 0)) wait = Math.min(wait, leaderlessInterval)
      else if (partitions.length === 0) wait = Math.min(wait, missingInterval)
    }
    const dueAt = this.#currentAt + wait
    // Each answer is stored, so there has been no answer about these topics.
    if (this.#topics.size >= this.#watched.size) return dueAt
    return Math.min(dueAt, Math.max(this.#currentAt, this.#addedAt) + Math.min(unansweredInterval, maxAge))
  }

  // ── Coordinators ─────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The broker that coordinates a group or a transactional id. Rejects with a `ProtocolFailure` if the brokers do not say.
   *
   * @param type A value of `coordinatorType`.
   */
  coordinator(key: string, type: number): Promise<number> {
    const name = coordinated(key, type)
    let found = this.#coordinators.get(name)
    if (found === undefined) {
      found = this.#findCoordinator(key, type)
      this.#coordinators.set(name, found)
      const asked = found
      asked.catch(() => {
        if (this.#coordinators.get(name) === asked) this.#coordinators.delete(name)
      })
    }
    return found
  }

  async #findCoordinator(key: string, type: number): Promise<number> {
    let version = 0
    const answer = await this.askAny(findCoordinator, spoken => {
      version = spoken
      return findOneCoordinator(key, type, spoken)
    })
    const found = foundCoordinator(answer, key, version)
    if (found === undefined)
      throw new Error(`the brokers do not say which of them coordinates ${coordinated(key, type)}`)
    const { errorCode, nodeId, host, port } = found
    if (errorCode !== 0) {
      throw new ProtocolFailure(kafkaError(errorCode), `the coordinator of ${coordinated(key, type)} is not known`)
    }
    this.#brokers.set(nodeId, { host, port })
    return nodeId
  }

  /** The coordinator has moved or cannot be reached: it is looked up again. */
  forgetCoordinator(key: string, type: number): void {
    this.#coordinators.delete(coordinated(key, type))
  }

  end(): void {
    this.#ended.abort()
    clearTimeout(this.#timer)
    this.#listeners.clear()
  }
}

/** The coordinated group or transactional id, for messages. */
function coordinated(key: string, type: number): string {
  return `${type === coordinatorType.group ? 'group' : 'transactional id'} '${key}'`
}

const leaderless = { leader: -1, leaderEpoch: -1 }

function shuffled<T>(items: readonly T[]): T[] {
  const left = [...items]
  const drawn: T[] = []
  while (left.length > 0) drawn.push(...left.splice(Math.floor(Math.random() * left.length), 1))
  return drawn
}
