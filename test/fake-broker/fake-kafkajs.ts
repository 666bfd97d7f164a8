import type { Kafka } from 'kafkajs'
import type { FakeCluster } from './fake-cluster'

/** As much of kafkajs as the producer of the kafkajs driver reaches for, before a cluster in this process. */
export function fakeKafkajs(cluster: FakeCluster): Kafka {
  const broker = (nodeId: number) => ({
    nodeId,
    versions: { 0: { maxVersion: 7 } },
    metadata: async (topics: readonly string[]) => ({
      topicMetadata: topics.map(topic => {
        const partitions = cluster.topics.get(topic)
        if (partitions === undefined) throw Object.assign(new Error('no topic'), { type: 'UNKNOWN_TOPIC_OR_PARTITION' })
        const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({
          partitionId,
          leader: cluster.leader(topic, partitionId),
        }))
        return { topic, partitionMetadata }
      }),
    }),
    describeConfigs: async () => ({ resources: [] }),
    initProducerId: async () => ({ producerId: String(cluster.newProducerId()), producerEpoch: 0 }),
    connectionPool: {
      pool: [],
      send: async ({ request, response }: SentRequest) => {
        const ending = cluster.produce(nodeId, (await request.encode()).buffer, request.apiVersion)
        if (ending === 'silence') return new Promise(() => {})
        if (ending === 'cut') throw Object.assign(new Error('Connection closed'), { name: 'KafkaJSConnectionError' })
        return response.parse(await response.decode(ending))
      },
    },
  })
  const brokers = Array.from({ length: cluster.nodes }, (_, node) => broker(node))
  const kafkajs = {
    connectionPoolBuilder: { build: async () => ({ pool: [] }) },
    brokerPool: { findConnectedBroker: async () => brokers[0], findBroker: async () => brokers[0] },
    connect: async () => {},
    disconnect: async () => {},
    isConnected: () => true,
    refreshMetadata: async () => {},
    findBroker: async ({ nodeId }: { nodeId: number }) => brokers[nodeId],
  }
  const consumer = ({ partitionAssigners }: { partitionAssigners: ((input: object) => unknown)[] }) => {
    for (const assigner of partitionAssigners) assigner({ cluster: kafkajs })
  }
  return { consumer } as unknown as Kafka
}

interface SentRequest {
  readonly request: { readonly apiVersion: number; encode(): Promise<{ readonly buffer: Buffer }> }
  readonly response: { decode(payload: Buffer): Promise<object>; parse(decoded: object): Promise<unknown> }
}
