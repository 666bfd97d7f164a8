import type { Kafka } from 'kafkajs'
import { ConfigurationError, ConnectionError } from '../../errors.js'
import type { RecordBatch } from '../../record-batch.js'
import type { KafkajsOptions } from './connection.js'
import { within } from './deadline.js'
import { type GuardedCluster, openCluster } from './guarded-cluster.js'
import { errorType, isNotAuthorized, messageOf } from './protocol-error.js'
import { readAt } from './single-read.js'
import { ends } from './start-position.js'
import type { TopicPartition } from './sticky-assignment.js'
import { TopicDirectory } from './topic-directory.js'

const requestTimeout = 20_000

/** What the brokers say about topics. */
export class Topics {
  readonly #guarded: GuardedCluster
  readonly #directory: TopicDirectory

  constructor(kafka: Kafka) {
    this.#guarded = openCluster(kafka)
    this.#directory = new TopicDirectory(this.#guarded.cluster)
  }

  async connect(): Promise<void> {
    await this.#guarded.cluster.connect()
    await this.#guarded.cluster.refreshMetadata()
  }

  async partitionCounts(names: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const counts = await Promise.all(names.map(async name => [name, await this.#partitionCount(name)] as const))
    return new Map(counts.filter(([, count]) => count > 0))
  }

  async #partitionCount(topic: string): Promise<number> {
    this.#directory.forget(topic)
    try {
      await within(requestTimeout, this.#directory.learn(topic), `the metadata of ${topic}`)
      return this.#directory.partitions(topic).length
    } catch (error) {
      const type = errorType(error)
      if (type === 'UNKNOWN_TOPIC_OR_PARTITION') return 0
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
      return new Map(partitions.map(({ partition }) => [partition, found.get(`${topic}/${partition}`)!]))
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
