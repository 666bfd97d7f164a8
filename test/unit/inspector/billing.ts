import { type ClientOptions, createClient } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'

/** A client of the group `billing`, on a memory broker of its own. */
export function billing(options: ClientOptions = {}, partitions = 1) {
  const broker = memoryBroker({ partitions })
  const client = createClient({
    ...{ driver: broker.driver(), clientId: 'billing-1', group: 'billing', retryTopic: 'retries', dlqTopic: 'dead' },
    ...{ env: {}, logger: false },
    ...options,
  })
  return { broker, client }
}
