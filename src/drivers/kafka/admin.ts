import type { Logger } from 'pino'
import { systemClock } from '../../clock.js'
import { ConfigurationError, ConnectionError } from '../../errors.js'
import { kafkaError } from '../../protocol/errors.js'
import { describeShareGroupOffsets } from '../../protocol/messages/describe-share-group-offsets.js'
import { pause } from './backoff.js'
import { Cluster } from './cluster/cluster.js'
import { Coordinator } from './cluster/coordinator.js'
import { ProtocolFailure } from './cluster/protocol-failure.js'
import type { KafkaOptions } from './driver.js'
import { refusedConnection } from './fatal-error.js'
import { GroupOffsets } from './membership/offsets.js'
import { cannotSeeGroup, cannotSeeTopic } from './missing-right.js'
import { patiently } from './patiently.js'
import { LeaderlessError, latest, offsetsAt } from './positions/list-offsets.js'
import { unsealIdentity } from './positions/log-identity.js'
import { PartitionMap, type TopicPartition } from './topic-partition.js'
import { TransactionalProducer } from './transactions/transactional-producer.js'
import { parseAddress } from './transport/address.js'
import { RefusedConnectionError, UnsupportedRequestError } from './transport/failures.js'
import { Transport } from './transport/transport.js'

const connectAgain = 300
/** How long a request is repeated while brokers do not answer, or answer that they do not know yet, ms. */
const patience = 5_000

/** The committed position of a group in one partition. */
export interface GroupPosition extends TopicPartition {
  readonly committed: number
  /** The metadata committed with it; `decodeFinished` reads it. */
  readonly metadata: string
  /** Of a share group: records at and behind the position that are not completed. Undefined if the broker does not know. */
  readonly lag?: number
}

/** Reads the positions of groups and writes in transactions, without being a member or a consumer. For the command line. */
export class KafkaAdmin {
  readonly #transport: Transport
  readonly #cluster: Cluster
  #lastFailure: Error | undefined

  /** @param interrupted Ends the repetition of requests. A write that has begun is completed. */
  constructor(
    { brokers, ssl, sasl }: KafkaOptions,
    clientId: string,
    logger: Logger,
    readonly interrupted: AbortSignal,
  ) {
    const bootstrap = brokers.map(parseAddress)
    this.#transport = new Transport(
      { clientId, clock: systemClock, logger, ...(ssl !== undefined && { ssl }), ...(sasl !== undefined && { sasl }) },
      {
        connecting: () => {},
        connected: () => {},
        answered: () => {},
        silent: () => {},
        abandoned: () => {},
        failed: (_, error) => {
          this.#lastFailure = error
        },
      },
    )
    this.#cluster = new Cluster(this.#transport, bootstrap, systemClock, 30_000)
  }

  /**
   * Resolves once a broker answers.
   *
   * Rejects with a `ConnectionError` if no broker answers within `timeout` ms, or if one refuses this client.
   */
  async connect(timeout: number): Promise<void> {
    const until = systemClock.monotonic() + timeout
    for (;;) {
      try {
        await this.#cluster.learn([])
        return
      } catch (error) {
        if (error instanceof RefusedConnectionError) throw refusedConnection(error)
        if (systemClock.monotonic() > until) {
          const cause = this.#lastFailure ?? (error as Error)
          throw new ConnectionError(`no broker answers within ${timeout} ms: ${cause.message}`, { cause })
        }
        await pause(connectAgain, this.#cluster.ended)
      }
    }
  }

  /** The number of partitions of a topic. Rejects with a `ConfigurationError` if it does not exist or may not be seen. */
  async partitionsOf(topic: string): Promise<number> {
    const known = (await this.#cluster.learn([topic])).get(topic)
    if (known?.error?.has('notAuthorized')) throw new ConfigurationError(cannotSeeTopic(topic))
    if (known === undefined || known.partitions.length === 0) {
      const why = known?.error === undefined ? '' : ` (the brokers answer ${known.error})`
      throw new ConfigurationError(`topic '${topic}' does not exist${why}`)
    }
    return known.partitions.length
  }

  /** All positions that a group of the classic or the consumer protocol has committed. */
  async positions(group: string): Promise<readonly GroupPosition[]> {
    const offsets = new GroupOffsets(new Coordinator(this.#cluster, group))
    const positions = await this.#ofGroup(group, () => offsets.committed('all', () => undefined))
    return [...positions.entries()].map(([place, { offset, metadata }]) => {
      return { ...place, committed: offset, metadata: unsealIdentity(metadata).metadata }
    })
  }

  /**
   * The positions of a share group (KIP-932): the first offset of each partition that is not acknowledged. Undefined if there
   * is no such share group, or the brokers do not support them.
   */
  sharePositions(group: string): Promise<readonly GroupPosition[] | undefined> {
    return this.#ofGroup(group, () => this.#sharePositions(group))
  }

  async #sharePositions(group: string): Promise<readonly GroupPosition[] | undefined> {
    const coordinator = new Coordinator(this.#cluster, group)
    try {
      const { groups } = await coordinator.ask(describeShareGroupOffsets, {
        groups: [{ groupId: group, topics: null }],
      })
      const found = groups.find(({ groupId }) => groupId === group)
      if (found === undefined || kafkaError(found.errorCode).name === 'GROUP_ID_NOT_FOUND') return undefined
      check(found.errorCode, `the positions of share group '${group}' are not known`)
      return found.topics.flatMap(({ topicName, partitions }) =>
        partitions
          .filter(({ errorCode, startOffset }) => errorCode === 0 && startOffset >= 0)
          .map(({ partitionIndex, startOffset, lag }) => {
            const position = { topic: topicName, partition: partitionIndex, committed: startOffset, metadata: '' }
            return lag < 0n ? position : { ...position, lag: Number(lag) }
          }),
      )
    } catch (error) {
      if (error instanceof UnsupportedRequestError) return undefined
      throw error
    }
  }

  /** The end offsets of these partitions, for read committed. Partitions without a leader are left out. */
  ends(partitions: readonly TopicPartition[]): Promise<PartitionMap<number>> {
    return this.#patiently(() => this.#ends(partitions))
  }

  async #ends(partitions: readonly TopicPartition[]): Promise<PartitionMap<number>> {
    const topics = [...new Set(partitions.map(({ topic }) => topic))]
    const stop = this.#cluster.watch(topics)
    try {
      await this.#cluster.learn(topics)
      const led = partitions.filter(({ topic, partition }) => this.#cluster.leaderOf(topic, partition) !== undefined)
      const found = await offsetsAt(this.#cluster, led, latest)
      const ends = new PartitionMap<number>()
      for (const place of led) ends.set(place, found.get(place)!.offset)
      return ends
    } catch (error) {
      if (error instanceof LeaderlessError) return new PartitionMap()
      throw error
    } finally {
      stop()
    }
  }

  /** Makes a transactional producer. It fences any other producer with the same id. */
  transactional(transactionalId: string): Promise<TransactionalProducer> {
    return TransactionalProducer.open(this.#cluster, transactionalId)
  }

  #patiently<T>(question: () => Promise<T>): Promise<T> {
    return patiently(question, { clock: systemClock, patience, ended: this.interrupted })
  }

  /** As `#patiently`, for requests about a group: if the right to see it is missing, the error says so. */
  async #ofGroup<T>(group: string, question: () => Promise<T>): Promise<T> {
    try {
      return await this.#patiently(question)
    } catch (cause) {
      if (!(cause instanceof ProtocolFailure) || cause.error.name !== 'GROUP_AUTHORIZATION_FAILED') throw cause
      throw new Error(cannotSeeGroup(group), { cause })
    }
  }

  close(): void {
    this.#cluster.end()
    this.#transport.close()
  }
}

function check(code: number, what: string): void {
  if (code !== 0) throw new ProtocolFailure(kafkaError(code), what)
}
