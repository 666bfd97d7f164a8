import { defer, from, type Observable } from 'rxjs'
import { kafkaError } from '../../../protocol/errors.js'
import { initProducerId } from '../../../protocol/messages/init-producer-id.js'
import { ACKS_ALL, produce } from '../../../protocol/messages/produce.js'
import { ZERO_UUID } from '../../../protocol/wire/uuid.js'
import { pause } from '../backoff.js'
import { type Cluster, requestTimeout } from '../cluster/cluster.js'
import { ProtocolFailure } from '../cluster/protocol-failure.js'
import { byTopic } from '../topic-partition.js'
import { RefusedConnectionError, UnansweredError } from '../transport/failures.js'
import {
  type Leaders,
  noProducerId,
  type OutgoingBatch,
  type PartitionLeader,
  type ProduceAnswer,
  type ProducerId,
  type TopicLeaders,
  WriteError,
} from './leaders.js'

/** How long a leader may wait for its replicas, ms. */
const acknowledgementTimeout = 10_000
/** How long a leader may be silent before that is reported, ms. It waits for its replicas, which usually takes much less. */
const quiet = 4_000
/** How long to wait for a topic that the brokers create because of the request, ms. */
const creation = 3_000
/** How long a broker may not know an existing topic, ms: brokers learn of it one after the other. */
const propagation = 1_000
const askAgain = 100
/** The newest version that has topic names. */
const namedVersion = 12

/** The cluster, as writing uses it. */
export class ClusterLeaders implements Leaders {
  constructor(readonly cluster: Cluster) {}

  partitions(topic: string): Observable<TopicLeaders> {
    return defer(() => from(this.#partitions(topic)))
  }

  producerId(): Observable<ProducerId> {
    return defer(() => from(this.#producerId()))
  }

  produce(node: number, batches: readonly OutgoingBatch[]): Observable<readonly ProduceAnswer[]> {
    return defer(() => from(this.#produce(node, batches)))
  }

  async #partitions(topic: string): Promise<TopicLeaders> {
    const { cluster } = this
    const since = cluster.clock.monotonic()
    try {
      for (;;) {
        const known = (await cluster.learn([topic], { create: true })).get(topic)
        const partitions = known?.partitions ?? []
        const waited = cluster.clock.monotonic() - since
        const topicId = known?.id ?? ZERO_UUID
        if (partitions.some(({ leader }) => leader >= 0)) return { topicId, partitions: numbered(partitions) }
        const { error } = known ?? {}
        if (error !== undefined && !isCreated(error.name)) {
          throw new ProtocolFailure(error, `topic '${topic}' is not known`)
        }
        // A topic that was just created has no leaders yet. In an outage it may not get them.
        if (waited > (error?.name === 'UNKNOWN_TOPIC_OR_PARTITION' ? propagation : creation)) {
          if (error !== undefined) throw new ProtocolFailure(error, `topic '${topic}' is not known`)
          return { topicId, partitions: numbered(partitions) }
        }
        await pause(askAgain, cluster.ended)
        if (cluster.ended.aborted) throw new Error('the driver is closed')
      }
    } catch (error) {
      throw writeError(error)
    }
  }

  async #producerId(): Promise<ProducerId> {
    try {
      const { errorCode, producerId, producerEpoch } = await this.cluster.askAny(initProducerId, {
        transactionTimeoutMs: 60_000,
      })
      const error = kafkaError(errorCode)
      // Kafka before 3.0 requires a separate right. Without a producer id, a repeated batch may be written twice.
      if (error.has('notAuthorized')) return { id: noProducerId, epoch: -1 }
      if (errorCode !== 0) throw new ProtocolFailure(error, 'the brokers give out no producer id')
      return { id: producerId, epoch: producerEpoch }
    } catch (error) {
      throw writeError(error)
    }
  }

  async #produce(node: number, batches: readonly OutgoingBatch[]): Promise<readonly ProduceAnswer[]> {
    const request = {
      acks: ACKS_ALL,
      timeoutMs: acknowledgementTimeout,
      topicData: [...byTopic(batches)].map(([name, each]) => ({
        name,
        partitionData: each.map(({ partition, bytes }) => ({ index: partition, records: bytes })),
      })),
    }
    const options = { timeout: acknowledgementTimeout + requestTimeout, maxVersion: namedVersion, quiet }
    try {
      const { responses } = await this.cluster.ask(node, 'write', produce, request, options)
      return responses.flatMap(({ name, partitionResponses }) =>
        partitionResponses.map(({ index, errorCode, baseOffset }) => {
          return { topic: name, partition: index, errorCode, baseOffset: BigInt(baseOffset) }
        }),
      )
    } catch (error) {
      throw writeError(error)
    }
  }
}

/** Whether a broker may answer this while it creates a topic. */
function isCreated(name: string): boolean {
  return name === 'UNKNOWN_TOPIC_OR_PARTITION' || name === 'LEADER_NOT_AVAILABLE'
}

function numbered(partitions: readonly { readonly leader: number }[]): readonly PartitionLeader[] {
  return partitions.map(({ leader }, partitionId) => ({ partitionId, leader }))
}

function writeError(cause: unknown): WriteError {
  const refused =
    cause instanceof ProtocolFailure &&
    (cause.error.has('notAuthorized') || cause.error.name === 'INVALID_TOPIC_EXCEPTION')
  const permanent = refused || cause instanceof RefusedConnectionError
  const unsent = !(cause instanceof UnansweredError) || !cause.sent
  return new WriteError((cause as Error).message, { cause, permanent, unsent })
}
