import { setTimeout as sleep } from 'node:timers/promises'
import type { GroupProtocol } from 'rxmika'
import { FakeKafka } from '../fake-broker/fake-kafka'
import type { Backend } from './backend'
import { mortal, ProtocolDriver } from './kafka-driver'

/** Brokers in this process that speak Kafka's protocol, for the real driver. */
export function fakeBackend(groupProtocol: GroupProtocol): Backend {
  let kafka: FakeKafka
  return {
    open: async () => {
      kafka = await FakeKafka.start(2)
      kafka.autoCreate = 1
    },
    close: async () => kafka.stop(),
    connection: () => ({ brokers: kafka.addresses, groupProtocol }),
    driver: () => new ProtocolDriver(kafka.addresses, groupProtocol),
    mortalDriver: () => mortal(new ProtocolDriver(kafka.addresses, groupProtocol)),
    createTopic: async (name, partitions) => {
      kafka.create(name, ...Array.from({ length: partitions }, (_, partition) => partition % 2))
    },
    deleteTopic: async name => {
      kafka.topics.delete(name)
    },
    publish: async (topic, records) => {
      const turns = records.map(({ partition }, at) => partition ?? at % kafka.topics.get(topic)!.logs.length)
      for (const partition of new Set(turns)) {
        kafka.log(topic, partition).write(
          records
            .filter((_, at) => turns[at] === partition)
            .map(({ key = null, value, headers = {}, timestamp = Date.now() }) => ({
              key: key === null ? null : Buffer.from(key),
              value: value === null ? null : Buffer.from(value),
              headers: Object.entries(headers).map(([name, text]) => [name, Buffer.from(text)] as const),
              timestamp,
            })),
        )
      }
    },
    records: async topic =>
      kafka.topics
        .get(topic)!
        .logs.flatMap((log, partition) =>
          log.records.map(({ offset, ...record }) => ({ ...record, partition, offset: BigInt(offset) })),
        ),
    committed: async (group, topic, partition) => {
      const at = kafka.groups.get(group)?.committed.get(`${topic}-${partition}`)
      return at === undefined ? undefined : BigInt(at.offset)
    },
    rebalancing: async name => {
      const group = kafka.group(name)
      while (!(group.classic.rebalancing || group.consumer.reconciling)) await sleep(1)
    },
    groups: async () => [...kafka.groups.keys()],
  }
}
