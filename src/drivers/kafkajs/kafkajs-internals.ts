import type { KafkaJSBroker } from './decoding/lazy-decoding.js'

/**
 * What this driver uses of kafkajs 2.2.4 that its published types do not show. Read in its sources; kafkajs is pinned
 * exactly, and the tests on a real Kafka hold every assumption made here.
 */
export interface Connection {
  readonly requestQueue: {
    /** Those that wait because the broker asked for a pause. */
    readonly pending: readonly unknown[]
    scheduleCheckPendingRequests(): void
    rejectAll(error: Error): void
    destroy(): void
  }
  readonly socket?: { destroy(error?: Error): void }
  connect(): Promise<unknown>
  authenticate(): Promise<void>
}

export interface ProtocolRequest {
  readonly request: {
    readonly apiKey: number
    readonly apiVersion: number
    readonly apiName: string
    /** As kafkajs's Encoder, of which only these two are read. */
    encode(): Promise<{ readonly buf: Buffer; readonly buffer: Buffer }>
  }
  readonly response: { decode(payload: Buffer): Promise<object>; parse(decoded: object): Promise<unknown> }
}

export interface ConnectionPool {
  readonly host: string
  readonly port: number
  readonly sasl: object | null | undefined
  readonly pool: Connection[]
  isConnected(): boolean
  destroy(): Promise<void>
  send(request: ProtocolRequest): Promise<unknown>
}

export interface FetchPartition {
  readonly partition: number
  fetchOffset: string
  readonly maxBytes: number
}

export interface FetchTopic {
  readonly topic: string
  readonly partitions: FetchPartition[]
}

export interface FetchRequest {
  readonly maxWaitTime: number
  readonly isolationLevel?: number
  readonly topics: FetchTopic[]
}

export interface FetchedPartition {
  readonly partition: number
  readonly highWatermark: string
  readonly lastStableOffset?: string
  readonly messages: unknown[]
}

export interface FetchResponse {
  readonly responses: { readonly topicName: string; readonly partitions: FetchedPartition[] }[]
}

export interface HeartbeatRequest {
  readonly groupId: string
  readonly groupGenerationId: number
  readonly memberId: string
}

export interface TopicPartitions {
  readonly topic: string
  readonly partitions: { readonly partition: number }[]
}

export interface CommittedOffset {
  readonly partition: number
  readonly offset: string
  readonly metadata: string | null
}

export interface Broker extends KafkaJSBroker {
  readonly nodeId: number
  readonly versions: { readonly [apiKey: number]: { readonly maxVersion: number } | undefined } | null
  readonly connectionPool: ConnectionPool & KafkaJSBroker['connectionPool']
  disconnect(): Promise<void>
  fetch(request: FetchRequest): Promise<FetchResponse>
  joinGroup(request: { memberId?: string }): Promise<{ readonly generationId: number; readonly memberId: string }>
  syncGroup(request: object): Promise<unknown>
  findGroupCoordinator(request: object): Promise<unknown>
  heartbeat(request: HeartbeatRequest): Promise<unknown>
  leaveGroup(request: { groupId: string; memberId: string }): Promise<unknown>
  offsetCommit(request: {
    groupId: string
    groupGenerationId: number
    memberId: string
    topics: { topic: string; partitions: { partition: number; offset: string; metadata: string | null }[] }[]
  }): Promise<unknown>
  offsetFetch(request: { groupId: string; topics: TopicPartitions[] }): Promise<{
    readonly responses: { readonly topic: string; readonly partitions: CommittedOffset[] }[]
  }>
  metadata(topics: readonly string[]): Promise<{ readonly topicMetadata: TopicMetadata[] }>
  initProducerId(request: { transactionTimeout: number }): Promise<{ producerId: string; producerEpoch: number }>
  deleteGroups(groupIds: readonly string[]): Promise<unknown>
  describeConfigs(request: {
    readonly resources: readonly { readonly type: number; readonly name: string; readonly configNames: string[] }[]
  }): Promise<{
    readonly resources: readonly {
      readonly configEntries: readonly { readonly configName: string; readonly configValue: string | null }[]
    }[]
  }>
}

export interface PartitionMetadata {
  readonly partitionId: number
  readonly leader: number
}

export interface TopicMetadata {
  readonly topic: string
  readonly partitionMetadata: PartitionMetadata[]
}

export interface Cluster {
  readonly connectionPoolBuilder: { build(destination?: object): Promise<ConnectionPool> }
  readonly brokerPool: {
    createBroker(options: object): Broker
    findConnectedBroker(): Promise<Broker>
    findBroker(destination: { nodeId: number }): Promise<Broker>
    refreshMetadata(topics: readonly string[]): Promise<unknown>
    readonly metadata: { readonly topicMetadata: readonly TopicMetadata[] } | null
  }
  isConnected(): boolean
  connect(): Promise<void>
  disconnect(): Promise<void>
  /** Of the brokers that are known. kafkajs fetches from each by itself, and begins anew when there are others. */
  getNodeIds(): number[]
  refreshMetadata(): Promise<void>
  addMultipleTargetTopics(topics: readonly string[]): Promise<void>
  findBroker(destination: { nodeId: number }): Promise<Broker>
  findControllerBroker(): Promise<Broker>
  findGroupCoordinator(group: { groupId: string }): Promise<Broker>
  findGroupCoordinatorMetadata(request: object): Promise<unknown>
  findTopicPartitionMetadata(topic: string): PartitionMetadata[]
  /** Where kafkajs keeps the committed offsets of a group, by topic and partition, as text. */
  committedOffsets(group: { groupId: string }): Record<string, Record<number, string>>
  fetchTopicsOffset(
    topics: readonly {
      topic: string
      partitions: readonly { partition: number }[]
      /** -1: the end, -2: the beginning, otherwise ms since 1970. */
      fromTimestamp: number
    }[],
  ): Promise<{ topic: string; partitions: { partition: number; offset: string }[] }[]>
}
