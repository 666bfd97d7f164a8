import type { Broker } from './kafkajs-internals.js'

/** Kafka's number of the kind of resource. */
const brokerResource = 4
const setting = 'auto.create.topics.enable'

/**
 * Whether the broker creates topics that are asked for. Its answer to the question for a topic does not tell: in KRaft it
 * is UNKNOWN_TOPIC_OR_PARTITION for one that is being created as for one that never will be. True also where it may not
 * be known, for want of a permission (DescribeConfigs of the cluster) or of an answer.
 */
export async function createsTopics(broker: Broker): Promise<boolean> {
  try {
    const { resources } = await broker.describeConfigs({
      resources: [{ type: brokerResource, name: String(broker.nodeId), configNames: [setting] }],
    })
    const entries = resources.flatMap(({ configEntries }) => configEntries)
    return entries.find(({ configName }) => configName === setting)?.configValue !== 'false'
  } catch {
    return true
  }
}
