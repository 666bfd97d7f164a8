import type { Kafka } from 'kafkajs'
import type { Logger } from 'pino'
import type { ConnectionEvent } from '../../driver.js'
import { ConfigurationError, ConnectionError } from '../../errors.js'
import { partitionName } from '../../place.js'
import type { RecordBatch } from '../../record-batch.js'
import type { KafkajsOptions } from './connection.js'
import { DeadlineError, pass, within } from './deadline.js'
import { type GuardedCluster, openCluster } from './guarded-cluster.js'
import { cannotSeeTopic } from './missing-right.js'
import { Outage } from './outage.js'
import {
  errorType,
  isConnectionFailure,
  isNotAuthorized,
  isRefusal,
  messageOf,
  messageWithBroker,
} from './protocol-error.js'
import type { Reachability } from './reachability.js'
import { retry } from './retry-settings.js'
import { readAt } from './single-read.js'
import { ends } from './start-position.js'
import type { TopicPartition } from './sticky-assignment.js'
import { TopicDirectory } from './topic-directory.js'

const requestTimeout = 20_000
/** A broker that lets one connect, and so often in turn closes at the first request, does not mean to answer: some 3 s. */
const mostCuts = 7
/** How long brokers that take connections may be silent at first until that is an outage, ms. */
const firstAnswer = 3_000
const askAgain = 1_000

/** What the brokers say about topics. */
export class Topics {
  readonly #guarded: GuardedCluster
  readonly #directory: TopicDirectory
  #outage: Outage | undefined

  constructor(
    kafka: Kafka,
    readonly logger: Logger,
    reachability: Reachability,
  ) {
    this.#guarded = openCluster(kafka, reachability, error => this.#outage?.unanswered(error))
    this.#directory = new TopicDirectory(this.#guarded.cluster)
  }

  /** Tries until the brokers answer, for ever, and says when they do not. */
  async connect(tell: (event: ConnectionEvent) => void): Promise<void> {
    const { cluster } = this.#guarded
    const outage = new Outage(
      error => tell({ type: 'disconnected', error }),
      () => tell({ type: 'reconnected' }),
      () => cluster.isConnected(),
    )
    this.#outage = outage
    const silent = new DeadlineError(`no broker answered within ${firstAnswer} ms`)
    const overdue = setTimeout(() => outage.unanswered(silent), firstAnswer)
    try {
      // kafkajs tries again to connect, and not to ask: a connection that breaks in between is made anew here.
      for (let cuts = 0; ; ) {
        try {
          await cluster.connect()
          await cluster.refreshMetadata()
          break
        } catch (error) {
          if (isRefusal(error) || !isConnectionFailure(error)) throw error
          // One that is silent may answer yet.
          cuts = (error as Error).name === 'KafkaJSConnectionClosedError' ? cuts + 1 : 0
          if (cuts === mostCuts) throw turnedAway(error)
          outage.unanswered(error)
          await pass(Math.min(retry.initialRetryTime * (cuts + 1), retry.maxRetryTime))
        }
      }
      outage.answered()
    } finally {
      clearTimeout(overdue)
      outage.stop()
      this.#outage = undefined
    }
  }

  /** Asks until it is answered, or `cancelled`: a broker that goes away just now comes back. */
  async partitionCounts(names: readonly string[], cancelled: () => boolean): Promise<ReadonlyMap<string, number>> {
    for (;;) {
      try {
        const counts = await Promise.all(names.map(async name => [name, await this.#partitionCount(name)] as const))
        return new Map(counts.filter(([, count]) => count > 0))
      } catch (error) {
        if (cancelled() || isRefusal(error) || !isConnectionFailure(error)) throw error
        this.logger.warn({ err: error }, 'the brokers do not say what topics there are; they are asked again')
        await pass(askAgain)
      }
    }
  }

  async #partitionCount(topic: string): Promise<number> {
    this.#directory.forget(topic)
    try {
      await within(requestTimeout, this.#directory.learn(topic), `the metadata of ${topic}`)
      return this.#directory.partitions(topic).length
    } catch (error) {
      const type = errorType(error)
      if (type === 'UNKNOWN_TOPIC_OR_PARTITION') return 0
      if (type === 'TOPIC_AUTHORIZATION_FAILED') throw new ConfigurationError(cannotSeeTopic(topic), { cause: error })
      if (type === 'INVALID_TOPIC_EXCEPTION' || isNotAuthorized(error)) {
        throw new ConfigurationError(`topic '${topic}' cannot be used: ${messageOf(error)}`, { cause: error })
      }
      throw new ConnectionError(`what there is of topic '${topic}' is not known: ${messageOf(error)}`, { cause: error })
    }
  }

  async endOffsets(topic: string): Promise<ReadonlyMap<number, number>> {
    const count = await this.#partitionCount(topic)
    if (count === 0) throw new ConfigurationError(`there is no topic '${topic}'`)
    const { cluster } = this.#guarded
    try {
      await within(requestTimeout, cluster.addMultipleTargetTopics([topic]), `the metadata of ${topic}`)
      const partitions = Array.from({ length: count }, (_, partition) => ({ topic, partition }))
      const found = await ends(cluster, partitions)
      return new Map(partitions.map(({ partition }) => [partition, found.get(partitionName({ topic, partition }))!]))
    } catch (error) {
      throw new ConnectionError(`the end of topic '${topic}' is not known: ${messageOf(error)}`, { cause: error })
    }
  }

  /** The batches from the one on that holds the first record at or after `offset`. */
  async readAt(
    place: TopicPartition,
    offset: number,
    options: Pick<KafkajsOptions, 'codecs' | 'decoder'>,
  ): Promise<readonly RecordBatch[]> {
    try {
      const leader = await this.#directory.leader(place.topic, place.partition)
      return await readAt(this.#guarded.cluster, leader, place, offset, options)
    } catch (error) {
      this.#directory.forget(place.topic)
      throw error
    }
  }

  async end(): Promise<void> {
    await this.#guarded.end()
  }
}

function turnedAway(cause: unknown): ConnectionError {
  return new ConnectionError(
    'the brokers refuse us: they let us connect, and closed the connection at our first request ' +
      `${mostCuts} times in turn; where they want a login, set sasl (or KAFKA_SASL_MECHANISM): ${messageWithBroker(cause)}`,
    { cause },
  )
}
