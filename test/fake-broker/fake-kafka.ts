import { setTimeout as sleep } from 'node:timers/promises'
import { errorCode } from '../../src/protocol/errors'
import { messages } from '../../src/protocol/messages/all'
import type { consumerGroupHeartbeat } from '../../src/protocol/messages/consumer-group-heartbeat'
import type { fetch } from '../../src/protocol/messages/fetch'
import type { findCoordinator } from '../../src/protocol/messages/find-coordinator'
import { EARLIEST, type listOffsets } from '../../src/protocol/messages/list-offsets'
import type { metadata } from '../../src/protocol/messages/metadata'
import type { offsetCommit } from '../../src/protocol/messages/offset-commit'
import type { offsetFetch } from '../../src/protocol/messages/offset-fetch'
import type { offsetForLeaderEpoch } from '../../src/protocol/messages/offset-for-leader-epoch'
import type { produce } from '../../src/protocol/messages/produce'
import type { AnyMessage, ReceivedRequestOf, SentResponseOf } from '../../src/protocol/schema/message'
import type { Asked, Fate, Fault } from './asked'
import { BrokerServer } from './broker-server'
import { ClassicGroup } from './classic-group'
import { ConsumerGroup } from './consumer-group'
import { type FakeLog, FakeTopic } from './fake-log'

type Received<M extends AnyMessage> = ReceivedRequestOf<M>
type Sent<M extends AnyMessage> = SentResponseOf<M>

export interface Committed {
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string | null
}

export interface FakeGroup {
  readonly classic: ClassicGroup
  readonly consumer: ConsumerGroup
  /** By `topic-partition`. */
  readonly committed: Map<string, Committed>
}

/** The metadata of each topic that a broker knows. */
export type View = ReadonlyMap<string, Sent<typeof metadata>['topics'][number]>

/** The default group of tests. */
const theGroup = 'billing'
/** Kafka's default of `offset.metadata.max.bytes`. */
const maxMetadataBytes = 4096

const asItIs: Fate = {}

/**
 * A cluster in this process that speaks Kafka's protocol on ports of 127.0.0.1. Its brokers are 0, 1, …; the first one is the
 * coordinator of every group unless `coordinator` is set. Tests inject faults.
 */
export class FakeKafka {
  readonly brokers: readonly BrokerServer[]
  readonly topics = new Map<string, FakeTopic>()
  /** By name: every group with members or committed positions. */
  readonly groups = new Map<string, FakeGroup>()
  /** The number of partitions of a topic that is created by a request for it. Absent: topics are not created. */
  autoCreate: number | undefined
  /** Larger batches are refused. Defaults to Kafka's limit. */
  maxMessageBytes = 1_048_588
  /** Every request, in the order of arrival. */
  readonly asked: Asked[] = []
  coordinator = 0
  #producerIds = 0
  readonly #hanging = new Map<number, Promise<void>>()
  readonly #views = new Map<number, View>()
  readonly #faults: { readonly name: string; readonly fault: Fault }[] = []

  constructor(nodes = 1) {
    this.brokers = Array.from({ length: nodes }, (_, node) => {
      return new BrokerServer({
        fate: (message, version, request) => this.#fate({ node, name: message.name, version, request }),
        answer: async (message, _version, request) => {
          await this.#hanging.get(node)
          return this.#answer(node, message.name, request as never)
        },
      })
    })
  }

  static async start(nodes = 1): Promise<FakeKafka> {
    const kafka = new FakeKafka(nodes)
    for (const broker of kafka.brokers) await broker.start()
    return kafka
  }

  stop(): void {
    for (const broker of this.brokers) broker.stop()
  }

  get addresses(): string[] {
    return this.brokers.map(({ port }) => `127.0.0.1:${port}`)
  }

  /** How many connections are open, to all brokers. */
  get connections(): number {
    return this.brokers.reduce((sum, { connections }) => sum + connections, 0)
  }

  group(name: string): FakeGroup {
    let group = this.groups.get(name)
    if (group === undefined) {
      group = {
        classic: new ClassicGroup(),
        consumer: new ConsumerGroup(100, topics => this.#places(topics)),
        committed: new Map(),
      }
      this.groups.set(name, group)
    }
    return group
  }

  get classic(): ClassicGroup {
    return this.group(theGroup).classic
  }

  get consumer(): ConsumerGroup {
    return this.group(theGroup).consumer
  }

  get committed(): Map<string, Committed> {
    return this.group(theGroup).committed
  }

  // ── For tests ───────────────────────────────────────────────────────────────────────────────────────────

  /** Creates a topic, or creates it again, with one leader for each partition. */
  create(name: string, ...leaders: number[]): FakeTopic {
    const topic = new FakeTopic(name, leaders)
    this.topics.set(name, topic)
    return topic
  }

  log(name: string, partition = 0): FakeLog {
    return this.topics.get(name)!.logs[partition]!
  }

  /** Injects a fault for requests of this name. Of several faults, the newest one that applies is used. Returns a function that removes it. */
  on(name: string, fault: Fault): () => void {
    const entry = { name, fault }
    this.#faults.unshift(entry)
    return () => {
      const at = this.#faults.indexOf(entry)
      if (at >= 0) this.#faults.splice(at, 1)
    }
  }

  /** Injects a fault for the next request of this name, or for the next `times` requests. */
  next(name: string, fate: Fate, times = 1): void {
    let left = times
    const end = this.on(name, () => {
      if (--left === 0) end()
      return fate
    })
  }

  /** Makes one broker hang: it accepts connections and does not answer. Returns a function that ends this. */
  hang(node: number): () => void {
    let end!: () => void
    this.#hanging.set(
      node,
      new Promise(resolve => {
        end = resolve
      }),
    )
    return () => {
      this.#hanging.delete(node)
      end()
    }
  }

  /** The topics as they are now, for `shows`. */
  get view(): View {
    return new Map([...this.topics].map(([name, topic]) => [name, described(topic)]))
  }

  /** Fixes what one broker knows about the topics. Undefined: it learns of every change at once. */
  shows(node: number, view: View | undefined): void {
    if (view === undefined) this.#views.delete(node)
    else this.#views.set(node, view)
  }

  count(name: string): number {
    return this.asked.filter(asked => asked.name === name).length
  }

  // ── What the brokers do ──────────────────────────────────────────────────────────────────────────────────────────

  #fate(asked: Asked): Fate {
    this.asked.push(asked)
    for (const { name, fault } of [...this.#faults]) {
      const fate = name === asked.name ? fault(asked) : undefined
      if (fate !== undefined) return fate
    }
    return asItIs
  }

  #answer(node: number, name: string, request: never): unknown {
    switch (name) {
      case 'ApiVersions':
        return { errorCode: 0, apiKeys: served }
      case 'Metadata':
        return this.#metadata(node, request)
      case 'FindCoordinator':
        return this.#findCoordinator(request)
      case 'ListOffsets':
        return this.#listOffsets(node, request)
      case 'OffsetForLeaderEpoch':
        return this.#offsetForLeaderEpoch(node, request)
      case 'Fetch':
        return this.#fetch(node, request)
      case 'InitProducerId':
        return { errorCode: 0, producerId: BigInt(++this.#producerIds), producerEpoch: 0 }
      case 'Produce':
        return this.#produce(node, request)
      default:
        return this.#coordinate(node, name, request)
    }
  }

  #coordinate(node: number, name: string, request: never): unknown {
    if (node !== this.coordinator) return this.#notCoordinator(name, request)
    const group = () => this.group((request as { readonly groupId: string }).groupId)
    switch (name) {
      case 'JoinGroup':
        return group().classic.join(request)
      case 'SyncGroup':
        return group().classic.sync(request)
      case 'Heartbeat':
        return group().classic.heartbeat(request)
      case 'LeaveGroup':
        return group().classic.leave(request)
      case 'ConsumerGroupHeartbeat':
        return this.#forbids(request) ?? group().consumer.heartbeat(request)
      case 'OffsetFetch':
        return this.#offsetFetch(request, 0)
      case 'OffsetCommit':
        return this.#offsetCommit(request)
      default:
        throw new Error(`the fake brokers do not speak ${name}`)
    }
  }

  /** One topic that the member may not see has its whole heartbeat refused, as Kafka's coordinator does. */
  #forbids({ subscribedTopicNames }: Received<typeof consumerGroupHeartbeat>) {
    if (!subscribedTopicNames?.some(name => this.topics.get(name)?.forbidden)) return undefined
    return {
      throttleTimeMs: 0,
      errorCode: errorCode.TOPIC_AUTHORIZATION_FAILED,
      memberEpoch: 0,
      heartbeatIntervalMs: 0,
    }
  }

  #notCoordinator(name: string, request: never): unknown {
    const code = errorCode.NOT_COORDINATOR
    switch (name) {
      case 'OffsetFetch':
        return this.#offsetFetch(request, code)
      case 'OffsetCommit':
        return this.#offsetCommit(request, code)
      case 'JoinGroup':
        return { errorCode: code, generationId: -1, protocolName: '', leader: '', memberId: '', members: [] }
      case 'SyncGroup':
        return { errorCode: code, assignment: Buffer.alloc(0) }
      case 'ConsumerGroupHeartbeat':
        return { throttleTimeMs: 0, errorCode: code, memberEpoch: 0, heartbeatIntervalMs: 0 }
      default:
        return { errorCode: code }
    }
  }

  #metadata(node: number, { topics, allowAutoTopicCreation }: Received<typeof metadata>): Sent<typeof metadata> {
    const view = this.#views.get(node)
    return {
      brokers: this.brokers.map(({ port }, nodeId) => ({ nodeId, host: '127.0.0.1', port })),
      topics: (topics ?? [...this.topics.keys()].map(name => ({ name }))).map(({ name }) => {
        if (allowAutoTopicCreation && this.autoCreate !== undefined && !this.topics.has(name!)) {
          this.create(name!, ...Array.from({ length: this.autoCreate }, () => 0))
        }
        const topic = this.topics.get(name!)
        const known = view === undefined ? topic && described(topic) : view.get(name!)
        return known ?? { errorCode: errorCode.UNKNOWN_TOPIC_OR_PARTITION, name, partitions: [] }
      }),
    }
  }

  #findCoordinator({ coordinatorKeys }: Received<typeof findCoordinator>): Sent<typeof findCoordinator> {
    const nodeId = this.coordinator
    const { port } = this.brokers[nodeId]!
    return {
      coordinators: coordinatorKeys.map(key => {
        return { key, nodeId, host: '127.0.0.1', port, errorCode: 0, errorMessage: null }
      }),
    }
  }

  /** Returns a partition's log, or the error code with which this broker refuses it. */
  #led(node: number, topic: FakeTopic | undefined, partition: number): FakeLog | number {
    if (topic?.forbidden === true) return errorCode.TOPIC_AUTHORIZATION_FAILED
    const log = topic?.logs[partition]
    if (log === undefined) return errorCode.UNKNOWN_TOPIC_OR_PARTITION
    return log.leader === node ? log : errorCode.NOT_LEADER_OR_FOLLOWER
  }

  #listOffsets(node: number, { topics }: Received<typeof listOffsets>): Sent<typeof listOffsets> {
    return {
      topics: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex, timestamp }) => {
          const log = this.#led(node, this.topics.get(name), partitionIndex)
          if (typeof log === 'number') return { partitionIndex, errorCode: log }
          return {
            partitionIndex,
            errorCode: 0,
            // Special timestamps such as the first local offset (KIP-405).
            offset: timestamp >= 0 ? log.firstSince(Number(timestamp)) : timestamp <= EARLIEST ? log.start : log.end,
            leaderEpoch: log.epoch,
          }
        }),
      })),
    }
  }

  #offsetForLeaderEpoch(
    node: number,
    { topics }: Received<typeof offsetForLeaderEpoch>,
  ): Sent<typeof offsetForLeaderEpoch> {
    return {
      topics: topics.map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map(({ partition, leaderEpoch }) => {
          const log = this.#led(node, this.topics.get(topic), partition)
          if (typeof log === 'number') return { partition, errorCode: log }
          const { epoch, endOffset } = log.endOf(leaderEpoch)
          return { partition, errorCode: 0, leaderEpoch: epoch, endOffset }
        }),
      })),
    }
  }

  async #fetch(node: number, request: Received<typeof fetch>): Promise<Sent<typeof fetch>> {
    const until = performance.now() + request.maxWaitMs
    for (;;) {
      const answer = this.#fetchNow(node, request)
      const isEmpty = answer.responses.every(({ partitions }) =>
        partitions.every(
          ({ errorCode, records, divergingEpoch }) =>
            errorCode === 0 && records?.length === 0 && divergingEpoch === null,
        ),
      )
      if (!isEmpty || performance.now() >= until) return answer
      await sleep(5)
    }
  }

  #fetchNow(node: number, { topics }: Received<typeof fetch>): Sent<typeof fetch> {
    const byId = new Map([...this.topics.values()].map(topic => [topic.id, topic]))
    return {
      responses: topics.map(({ topic: name, topicId, partitions }) => ({
        topic: name,
        topicId,
        partitions: partitions.map(({ partition, fetchOffset, lastFetchedEpoch, partitionMaxBytes }) => {
          // Requests before version 13 have topic names instead of ids.
          const topic = name === '' ? byId.get(topicId) : this.topics.get(name)
          const log = topic === undefined ? errorCode.UNKNOWN_TOPIC_ID : this.#led(node, topic, partition)
          const none = {
            partitionIndex: partition,
            highWatermark: -1,
            divergingEpoch: null,
            abortedTransactions: null,
            records: Buffer.alloc(0),
          }
          if (typeof log === 'number') return { ...none, errorCode: log }
          if (topic!.unreadable) return { ...none, errorCode: errorCode.TOPIC_AUTHORIZATION_FAILED }
          const told = {
            ...none,
            errorCode: 0,
            highWatermark: log.end,
            lastStableOffset: log.end,
            logStartOffset: log.start,
          }
          if (lastFetchedEpoch >= 0) {
            const parting = log.endOf(lastFetchedEpoch)
            if (parting.epoch >= 0 && (parting.epoch < lastFetchedEpoch || parting.endOffset < fetchOffset)) {
              return { ...told, divergingEpoch: parting }
            }
          }
          if (fetchOffset < log.start || fetchOffset > log.end)
            return { ...told, errorCode: errorCode.OFFSET_OUT_OF_RANGE }
          return { ...told, records: log.read(fetchOffset, partitionMaxBytes) }
        }),
      })),
    }
  }

  #offsetFetch({ groups }: Received<typeof offsetFetch>, code: number): Sent<typeof offsetFetch> {
    return {
      groups: groups.map(({ groupId, topics }) => ({
        groupId,
        errorCode: code,
        topics: (topics ?? []).map(({ name, partitionIndexes }) => ({
          name,
          partitions: partitionIndexes.map(partitionIndex => {
            const {
              offset = -1,
              leaderEpoch = -1,
              metadata = '',
            } = this.groups.get(groupId)?.committed.get(`${name}-${partitionIndex}`) ?? {}
            return {
              partitionIndex,
              committedOffset: offset,
              committedLeaderEpoch: leaderEpoch,
              metadata,
              errorCode: 0,
            }
          }),
        })),
      })),
    }
  }

  #offsetCommit(request: Received<typeof offsetCommit>, refusal?: number): Sent<typeof offsetCommit> {
    const { groupId, memberId, generationIdOrMemberEpoch: epoch, topics } = request
    const { consumer, classic, committed } = this.group(groupId)
    const group = consumer.members.has(memberId) ? consumer : classic
    return {
      topics: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex, committedOffset, committedLeaderEpoch, committedMetadata }) => {
          const topic = this.topics.get(name)
          const code = refusal ?? group.commitCode(memberId, epoch, `${topic?.id}/${partitionIndex}`)
          if (code !== 0) return { partitionIndex, errorCode: code }
          if (topic === undefined) return { partitionIndex, errorCode: errorCode.UNKNOWN_TOPIC_OR_PARTITION }
          if (topic.forbidden || topic.unreadable) {
            return { partitionIndex, errorCode: errorCode.TOPIC_AUTHORIZATION_FAILED }
          }
          if (Buffer.byteLength(committedMetadata ?? '') > maxMetadataBytes) {
            return { partitionIndex, errorCode: errorCode.OFFSET_METADATA_TOO_LARGE }
          }
          const at = { offset: committedOffset, leaderEpoch: committedLeaderEpoch, metadata: committedMetadata }
          committed.set(`${name}-${partitionIndex}`, at)
          return { partitionIndex, errorCode: 0 }
        }),
      })),
    }
  }

  #produce(node: number, { topicData }: Received<typeof produce>): Sent<typeof produce> {
    return {
      responses: topicData.map(({ name, topicId, partitionData }) => {
        const topic = name === '' ? [...this.topics.values()].find(({ id }) => id === topicId) : this.topics.get(name)
        return {
          name,
          topicId,
          partitionResponses: partitionData.map(({ index, records }) => {
            const log = this.#led(node, topic, index)
            if (typeof log === 'number') return { index, errorCode: log, baseOffset: -1 }
            if (records!.length > this.maxMessageBytes) {
              return { index, errorCode: errorCode.MESSAGE_TOO_LARGE, baseOffset: -1 }
            }
            const appended = log.produce(records!)
            return { index, errorCode: appended.code, baseOffset: 'base' in appended ? appended.base : -1 }
          }),
        }
      }),
    }
  }

  #places(topics: readonly string[]): readonly string[] {
    return topics.flatMap(name => {
      const topic = this.topics.get(name)
      return topic === undefined ? [] : topic.logs.map((_, partition) => `${topic.id}/${partition}`)
    })
  }
}

function described({ name, id, forbidden, logs }: FakeTopic): Sent<typeof metadata>['topics'][number] {
  if (forbidden) return { errorCode: errorCode.TOPIC_AUTHORIZATION_FAILED, name, partitions: [] }
  const partitions = logs.map(({ leader, epoch }, partitionIndex) => ({
    errorCode: leader < 0 ? errorCode.LEADER_NOT_AVAILABLE : 0,
    partitionIndex,
    leaderId: leader,
    leaderEpoch: epoch,
    replicaNodes: [],
    isrNodes: [],
  }))
  return { errorCode: 0, name, topicId: id, partitions }
}

/** All supported messages. */
const served = messages.map(({ key, versions }) => ({
  apiKey: key,
  minVersion: versions.min,
  maxVersion: versions.max,
}))
