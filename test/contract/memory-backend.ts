import { setImmediate } from 'node:timers/promises'
import { type MemoryBrokerOptions, memoryBroker } from 'rxmika/testing'
import type { Backend, NewRecord } from './backend'

/** The memory broker. */
export function memoryBackend(options: MemoryBrokerOptions = {}): Backend {
  const broker = memoryBroker(options)
  return {
    open: async () => {},
    close: async () => {},
    connection: () => ({ driver: broker.driver() }),
    driver: () => broker.driver(),
    mortalDriver: () => {
      const driver = broker.driver()
      return { driver, kill: async () => broker.kill(driver, { after: 0 }) }
    },
    createTopic: async (name, partitions) => broker.createTopic(name, partitions),
    deleteTopic: async name => broker.deleteTopic(name),
    publish: async (topic, records: readonly NewRecord[]) => {
      broker.publish(topic, records)
    },
    records: async topic =>
      broker.records(topic).map(({ headerPairs, ...record }) => ({ ...record, headers: headerPairs })),
    committed: async (group, topic, partition) => broker.committed(group, topic, partition),
    rebalancing: async group => {
      while (broker.group(group)?.state !== 'rebalancing') await setImmediate()
    },
    groups: async () => [...broker.groups()],
  }
}
