import { createTopic } from '../test/kafka/create-topic'
import { type KafkaServer, startKafka } from '../test/kafka/kafka-server'
import { TcpProxy } from './tcp-proxy'
import { dlqTopic, retryTopic, sessionTimeout, sharedPartitions, workTopics } from './workload'

/** A Kafka cluster. Its clients connect to each broker through a proxy; the check connects directly. */
export interface Cluster {
  readonly kafka: KafkaServer
  /** One proxy per broker, in the order of the brokers. */
  readonly proxies: readonly TcpProxy[]
  stop(): Promise<void>
}

/** With the consumer protocol, the session timeout is configured on the brokers, not in the members. */
const sessions = {
  'group.consumer.min.session.timeout.ms': sessionTimeout,
  'group.consumer.session.timeout.ms': sessionTimeout,
}

/** Starts a cluster, and creates the topics of the workload. */
export async function startCluster(brokers: number, version?: string): Promise<Cluster> {
  const proxies: TcpProxy[] = []
  const refuse = () => {
    for (const proxy of proxies) proxy.refuse()
  }
  const advertise = async (address: string) => {
    const proxy = await TcpProxy.to(address)
    proxies.push(proxy)
    return proxy.address
  }
  let kafka: KafkaServer | undefined
  try {
    kafka = await startKafka({
      brokers,
      advertise,
      config: sessions,
      longLived: true,
      ...(version !== undefined && { version }),
    })
    await createTopics(kafka.internal)
  } catch (error) {
    refuse()
    await kafka?.stop()
    throw error
  }
  const { brokers: addresses, stop } = kafka
  return {
    kafka,
    proxies: proxies.sort((one, other) => addresses.indexOf(one.address) - addresses.indexOf(other.address)),
    async stop() {
      refuse()
      await stop()
    },
  }
}

async function createTopics(brokers: string[]): Promise<void> {
  const shared = [retryTopic, dlqTopic].map(name => ({ name, partitions: sharedPartitions }))
  for (const { name, partitions } of [...workTopics, ...shared]) {
    await createTopic({ brokers }, { topic: name, numPartitions: partitions })
  }
}
