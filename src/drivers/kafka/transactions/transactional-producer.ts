import { PublishError } from '../../../errors.js'
import { partitionName } from '../../../place.js'
import { type KafkaError, kafkaError } from '../../../protocol/errors.js'
import { addPartitionsToTxn } from '../../../protocol/messages/add-partitions-to-txn.js'
import { endTxn } from '../../../protocol/messages/end-txn.js'
import { coordinatorType } from '../../../protocol/messages/find-coordinator.js'
import { initProducerId } from '../../../protocol/messages/init-producer-id.js'
import { ACKS_ALL, produce } from '../../../protocol/messages/produce.js'
import {
  type BatchBody,
  type EncodableRecord,
  RecordBatchBuilder,
} from '../../../protocol/records/record-batch-builder.js'
import { sealed } from '../../../protocol/records/record-batch-encoder.js'
import type { AnyMessage, RequestOf, ResponseOf } from '../../../protocol/schema/message.js'
import { type Cluster, requestTimeout } from '../cluster/cluster.js'
import { Coordinator } from '../cluster/coordinator.js'
import { ProtocolFailure } from '../cluster/protocol-failure.js'
import { patiently } from '../patiently.js'
import { byTopic, PartitionMap, type TopicPartition } from '../topic-partition.js'

/** The coordinator aborts a transaction that was not ended after this time, ms. */
const transactionTimeout = 60_000
/** How long one step is retried, ms. */
const patience = 30_000
/** How long a leader may wait for its replicas, ms. */
const acknowledgementTimeout = 10_000
/** By default brokers accept batches of up to 1 MiB (`max.message.bytes`). */
const maxBatchBytes = 900 * 1024
/** The newest versions of the first transaction protocol. With later ones, brokers raise the epoch (KIP-890). */
const firstProtocol = 4
const namedVersion = 11

/** Records for one partition. */
export interface PartitionRecords extends TopicPartition {
  readonly records: readonly EncodableRecord[]
}

/** Another producer has begun with the same transactional id. What this one had not committed is aborted. */
export class FencedProducerError extends PublishError {}

/** A commit was requested and not confirmed: the transaction may be committed, or it will be aborted. */
export class UnknownCommitError extends PublishError {}

/**
 * Writes to several partitions, in one transaction after another (KIP-98). If two producers have the same transactional id,
 * the earlier one is fenced, and what it had not committed is aborted.
 *
 * After a failure it cannot be used any more. The open transaction is aborted, unless its commit was requested and not
 * answered: the error of `write` says so.
 */
export class TransactionalProducer {
  #producerId = -1n
  #epoch = -1
  /** The next sequence of each partition, in the present epoch. */
  #sequences = new PartitionMap<number>()
  readonly #coordinator: Coordinator
  /** What the present transaction writes to. */
  #topics: readonly string[] = []

  private constructor(
    readonly cluster: Cluster,
    readonly transactionalId: string,
  ) {
    this.#coordinator = new Coordinator(cluster, transactionalId, coordinatorType.transaction)
  }

  /** Fences other producers with the id, and waits until an open transaction is over. */
  static async open(cluster: Cluster, transactionalId: string): Promise<TransactionalProducer> {
    const producer = new TransactionalProducer(cluster, transactionalId)
    await producer.#initialize('the transactional id could not be taken')
    return producer
  }

  /**
   * Resolves once readers see everything that was written. A coordinator answers a commit before it has written the end of
   * the transaction to the partitions, and until then readers for read committed stop in front of it.
   *
   * A coordinator initializes a producer again only when its last transaction is complete. If another producer has fenced this
   * one, that one has waited for the same.
   */
  async visible(): Promise<void> {
    try {
      await this.#initialize('whether readers see what is committed is not known')
    } catch (error) {
      if (!(error instanceof FencedProducerError)) throw error
    }
  }

  /** With a producer id and an epoch, a producer that was fenced is refused (KIP-360). */
  async #initialize(what: string): Promise<void> {
    const { producerId, producerEpoch } = await this.#ask(what, initProducerId, {
      transactionalId: this.transactionalId,
      transactionTimeoutMs: transactionTimeout,
      producerId: this.#producerId,
      producerEpoch: this.#epoch,
    })
    this.#producerId = producerId
    this.#epoch = producerEpoch
    this.#sequences = new PartitionMap()
  }

  /** Writes everything or nothing. Resolves once it is committed. */
  async write(written: readonly PartitionRecords[]): Promise<void> {
    const partitions = [...PartitionMap.of(written).values()]
    if (partitions.length === 0) return
    this.#topics = [...new Set(partitions.map(({ topic }) => topic))]
    try {
      await this.#addPartitions(partitions)
      // All of them, also if one fails: what a leader appends after the abort would stand in a transaction that nobody ends.
      const appended = await Promise.allSettled(written.map(each => this.#append(each)))
      const failed = appended.find(({ status }) => status === 'rejected')
      if (failed !== undefined) throw (failed as PromiseRejectedResult).reason
    } catch (error) {
      // If this does not reach the coordinator, it aborts the transaction later.
      await this.#end(false).catch(() => {})
      throw error
    }
    try {
      await this.#end(true)
    } catch (error) {
      if (error instanceof FencedProducerError) throw error
      const { message, cause } = error as Error
      throw new UnknownCommitError(message, { cause, retriable: false })
    }
  }

  async #addPartitions(partitions: readonly TopicPartition[]): Promise<void> {
    const topics = [...byTopic(partitions)].map(([name, each]) => ({
      name,
      partitions: each.map(({ partition }) => partition),
    }))
    await this.#ask(
      'its partitions could not be added to the transaction',
      addPartitionsToTxn,
      {
        v3AndBelowTransactionalId: this.transactionalId,
        v3AndBelowProducerId: this.#producerId,
        v3AndBelowProducerEpoch: this.#epoch,
        v3AndBelowTopics: topics,
      },
      ({ resultsByTopicV3AndBelow: results }) =>
        results
          .flatMap(({ resultsByPartition }) => resultsByPartition.map(({ partitionErrorCode }) => partitionErrorCode))
          // If one partition fails, the others are reported as not attempted.
          .sort((one, other) => rank(one) - rank(other))[0] ?? 0,
    )
  }

  #end(committed: boolean): Promise<unknown> {
    return this.#ask(
      committed
        ? 'whether the transaction is committed is not known'
        : 'the transaction could not be aborted; the broker does so later',
      endTxn,
      {
        transactionalId: this.transactionalId,
        producerId: this.#producerId,
        producerEpoch: this.#epoch,
        committed,
      },
    )
  }

  // ── The partitions' leaders ──────────────────────────────────────────────────────────────────────────────────────

  async #append({ topic, partition, records }: PartitionRecords): Promise<void> {
    const place = { topic, partition }
    for (const body of batches(records)) {
      const first = this.#sequences.get(place) ?? 0
      const sequence = { producerId: this.#producerId, epoch: this.#epoch, first, transactional: true }
      await this.#produce(place, sealed(body, sequence, undefined))
      this.#sequences.set(place, first + body.count)
    }
  }

  #produce(place: TopicPartition, bytes: Buffer): Promise<void> {
    const { topic, partition } = place
    return this.#tried(`${partitionName(place)} could not be written to`, async () => {
      const leader = (await this.cluster.learn([topic])).get(topic)?.partitions[partition]?.leader ?? -1
      if (leader < 0) throw new Error(`no broker leads ${partitionName(place)} at present`)
      const { responses } = await this.cluster.ask(
        leader,
        'write',
        produce,
        {
          transactionalId: this.transactionalId,
          acks: ACKS_ALL,
          timeoutMs: acknowledgementTimeout,
          topicData: [{ name: topic, partitionData: [{ index: partition, records: bytes }] }],
        },
        { timeout: acknowledgementTimeout + requestTimeout, maxVersion: namedVersion },
      )
      const code = responses[0]?.partitionResponses[0]?.errorCode
      if (code === undefined) throw new Error('the broker did not answer for it')
      // The leader recognizes a repeated batch by its sequence.
      return kafkaError(code).name === 'DUPLICATE_SEQUENCE_NUMBER' ? 0 : code
    })
  }

  // ── The coordinator ──────────────────────────────────────────────────────────────────────────────────────────────

  async #ask<M extends AnyMessage>(
    what: string,
    message: M,
    request: RequestOf<M>,
    codeOf: (answer: ResponseOf<M>) => number = answer =>
      (answer as unknown as { readonly errorCode: number }).errorCode,
  ): Promise<ResponseOf<M>> {
    let answer!: ResponseOf<M>
    await this.#tried(what, async () => {
      answer = await this.#coordinator.ask(message, request, { maxVersion: firstProtocol })
      const code = codeOf(answer)
      if (kafkaError(code).has('coordinatorMoved')) this.#coordinator.moved()
      return code
    })
    return answer
  }

  /** Retries a step until it returns 0, is refused for good, or its time is over. */
  async #tried(what: string, step: () => Promise<number>): Promise<void> {
    const checked = async () => {
      const code = await step()
      if (code !== 0) throw new ProtocolFailure(kafkaError(code), what)
    }
    const { clock, ended } = this.cluster
    try {
      await patiently(checked, { clock, ended, patience })
    } catch (error) {
      throw this.#error(what, error as Error)
    }
  }

  #error(what: string, cause: Error): PublishError {
    const code = cause instanceof ProtocolFailure ? cause.error : undefined
    if (code !== undefined && isFencing(code)) {
      return new FencedProducerError(
        `another producer has taken over the transactional id '${this.transactionalId}'; the transaction that was open is aborted`,
        { cause, retriable: false },
      )
    }
    // A `ProtocolFailure` has `what` in its message already.
    const why = code === undefined ? `${what}: ${cause.message}` : cause.message
    return new PublishError(`${why}${this.#needs(code?.name)}`, { cause, retriable: false })
  }

  #needs(code: string | undefined): string {
    if (code === 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED') {
      return `; the user needs WRITE on transactional id '${this.transactionalId}'`
    }
    if (code !== 'TOPIC_AUTHORIZATION_FAILED') return ''
    return `; the user needs WRITE on ${this.#topics.map(topic => `'${topic}'`).join(' and ')}`
  }
}

function isFencing({ name }: KafkaError): boolean {
  return name === 'PRODUCER_FENCED' || name === 'INVALID_PRODUCER_EPOCH'
}

/** The most specific codes come first. */
function rank(code: number): number {
  if (code === 0) return 2
  return kafkaError(code).name === 'OPERATION_NOT_ATTEMPTED' ? 1 : 0
}

function* batches(records: readonly EncodableRecord[]): Generator<BatchBody> {
  let builder = new RecordBatchBuilder()
  for (const record of records) {
    if (builder.count > 0 && builder.sizeWith(record) > maxBatchBytes) {
      yield builder.build()!
      builder = new RecordBatchBuilder()
    }
    builder.add(record)
  }
  const last = builder.build()
  if (last !== undefined) yield last
}
