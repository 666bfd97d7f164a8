import { kafkaError } from '../../../protocol/errors.js'
import { offsetForLeaderEpoch } from '../../../protocol/messages/offset-for-leader-epoch.js'
import type { Cluster } from '../cluster/cluster.js'
import type { Diverged } from '../fetching/fetching.js'
import type { TopicPartition } from '../topic-partition.js'
import { LeaderlessError } from './list-offsets.js'

/**
 * Where a leader epoch ends in the present log, or the latest one before it that the log has. What was read beyond that, under
 * this epoch, has been truncated (KIP-320). Undefined if the leader does not know.
 */
export async function endOfEpoch(
  cluster: Cluster,
  place: TopicPartition,
  leaderEpoch: number,
): Promise<Diverged | undefined> {
  const { topic, partition } = place
  const leader = cluster.leaderOf(topic, partition)
  if (leader === undefined) throw new LeaderlessError(place)
  const answer = await cluster.ask(leader, 'control', offsetForLeaderEpoch, {
    topics: [{ topic, partitions: [{ partition, currentLeaderEpoch: -1, leaderEpoch }] }],
  })
  const found = answer.topics[0]?.partitions[0]
  if (found === undefined || found.errorCode !== 0) {
    throw new Error(`the leader answers ${found === undefined ? 'nothing' : kafkaError(found.errorCode)}`)
  }
  return found.endOffset < 0 ? undefined : { epoch: found.leaderEpoch, endOffset: found.endOffset }
}
