import { consumerGroupDescribe } from '../../src/protocol/messages/consumer-group-describe'
import { RawConnection } from './protocol/raw-connection'

/** The state of a group of the consumer protocol (KIP-848). Undefined if its coordinator does not know the group. */
export async function consumerGroupState(brokers: readonly string[], group: string): Promise<string | undefined> {
  for (const broker of brokers) {
    const connection = await RawConnection.to(broker)
    try {
      const version = connection.versionsOf(consumerGroupDescribe).at(-1)
      if (version === undefined) continue
      const { groups } = await connection.ask(consumerGroupDescribe, { groupIds: [group] }, version)
      if (groups[0]?.errorCode === 0) return groups[0].groupState
    } finally {
      connection.end()
    }
  }
  return undefined
}
