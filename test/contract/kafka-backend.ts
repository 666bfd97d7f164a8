import { type Admin, Kafka, logLevel, type Message, type Producer } from 'kafkajs'
import type { GroupProtocol } from 'rxmika'
import { consumerGroupState } from '../kafka/consumer-group-state'
import { createTopic } from '../kafka/create-topic'
import type { Backend } from './backend'
import { mortal, ProtocolDriver } from './kafka-driver'
import { readPartition } from './wire-reader'

/** A real Kafka, accessed by kafkajs's admin client and by its wire format. Drivers join groups by `groupProtocol`. */
export function kafkaBackend(
  brokers: () => readonly string[],
  { groupProtocol = 'classic' }: { readonly groupProtocol?: GroupProtocol } = {},
): Backend {
  let kafka: Kafka
  let admin: Admin
  let producer: Producer
  /** Scenarios may run in parallel: no producer is replaced amid a send, and no send begins meanwhile. */
  const sends = new Set<Promise<unknown>>()
  let replacing: Promise<void> | undefined
  const send = async (topic: string, messages: Message[]) => {
    while (replacing !== undefined) await replacing
    const sent = producer.send({ topic, messages })
    sends.add(sent)
    return sent.finally(() => sends.delete(sent))
  }
  const deleteAndReplace = async (topic: string) => {
    await Promise.allSettled(sends)
    await admin.deleteTopics({ topics: [topic] })
    // A kafkajs producer requests metadata of every topic that it has written to, and fails if one was deleted.
    await producer.disconnect()
    producer = kafka.producer({ idempotent: true })
    await producer.connect()
  }
  const config = () => ({ brokers: [...brokers()], logLevel: logLevel.NOTHING })
  return {
    open: async () => {
      kafka = new Kafka(config())
      admin = kafka.admin()
      // Without this, kafkajs repeats a whole send if one of its partitions was refused.
      producer = kafka.producer({ idempotent: true })
      await Promise.all([admin.connect(), producer.connect()])
    },
    close: async () => {
      await Promise.all([admin.disconnect(), producer.disconnect()])
    },
    connection: () => ({ brokers: [...brokers()], groupProtocol }),
    driver: () => new ProtocolDriver(brokers(), groupProtocol),
    mortalDriver: () => mortal(new ProtocolDriver(brokers(), groupProtocol)),
    // With the default retention, the broker would delete records with old timestamps, and their copies.
    createTopic: (topic, numPartitions) =>
      createTopic(config(), { topic, numPartitions, configEntries: [{ name: 'retention.ms', value: '-1' }] }),
    deleteTopic: async topic => {
      while (replacing !== undefined) await replacing
      replacing = deleteAndReplace(topic).finally(() => {
        replacing = undefined
      })
      await replacing
    },
    publish: async (topic, records) => {
      const messages = records.map(({ timestamp, ...record }) => ({
        ...record,
        ...(timestamp !== undefined && { timestamp: String(timestamp) }),
      }))
      const written = new Set((await send(topic, messages)).map(({ partition }) => partition))
      // kafkajs omits records for a partition that it does not know, and resolves nevertheless.
      const left = messages.find(({ partition }) => partition !== undefined && !written.has(partition))
      if (left !== undefined) throw new Error(`kafkajs wrote nothing to ${topic}-${left.partition}, and says it did`)
    },
    records: async topic => {
      const { brokers: nodes } = await admin.describeCluster()
      const [metadata] = (await admin.fetchTopicMetadata({ topics: [topic] })).topics
      const partitions = [...metadata!.partitions].sort((a, b) => a.partitionId - b.partitionId)
      const read = partitions.map(({ partitionId, leader }) => {
        const { host, port } = nodes.find(({ nodeId }) => nodeId === leader)!
        return readPartition({ host, port }, topic, partitionId)
      })
      return (await Promise.all(read)).flat()
    },
    committed: async (groupId, topic, partition) => {
      const [fetched] = await admin.fetchOffsets({ groupId, topics: [topic] })
      const offset = fetched?.partitions.find(found => found.partition === partition)?.offset
      return offset === undefined || offset === '-1' ? undefined : BigInt(offset)
    },
    rebalancing: async group => {
      const classicState = async () => (await admin.describeGroups([group])).groups[0]?.state
      const waits = async () =>
        (await classicState()) === 'PreparingRebalance' ||
        (await consumerGroupState(brokers(), group)) === 'Reconciling'
      while (!(await waits())) {}
    },
    groups: async () => (await admin.listGroups()).groups.map(({ groupId }) => groupId),
  }
}
