import type { Kafka } from 'kafkajs'
import { within } from './deadline.js'
import { openCluster } from './guarded-cluster.js'

const timeout = 2_000

/**
 * Has a member leave its group, in bounded time, over a connection of its own: on the member's a broker reads nothing
 * before it has answered the request to join, and kafkajs sends nothing while it waits for the answer.
 */
export async function leaveByForce(kafka: Kafka, groupId: string, memberId: string): Promise<void> {
  const guarded = openCluster(kafka)
  const leaving = async () => {
    await guarded.cluster.connect()
    const coordinator = await guarded.cluster.findGroupCoordinator({ groupId })
    await coordinator.leaveGroup({ groupId, memberId })
  }
  await within(timeout, leaving(), 'leaving the group').catch(() => {})
  await guarded.end()
}
