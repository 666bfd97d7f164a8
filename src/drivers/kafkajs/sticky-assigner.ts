import { AssignerProtocol, type PartitionAssigner } from 'kafkajs'
import type { Cluster } from './kafkajs-internals.js'
import { type StickyMember, stickyAssignment, type TopicPartition } from './sticky-assignment.js'

const { MemberAssignment, MemberMetadata } = AssignerProtocol

/** What a member has when it joins. */
export interface Ownership {
  readonly generation: number
  readonly owned: readonly TopicPartition[]
}

/** kafkajs's face of `stickyAssignment`: members say what they own in their user data, the leader shares out. */
export function stickyAssigner(ownership: () => Ownership): PartitionAssigner {
  return ({ cluster }) => ({
    name: 'rxmika-sticky',
    version: 1,
    protocol({ topics }) {
      const metadata = MemberMetadata.encode({ version: 1, topics, userData: encodeOwnership(ownership()) })
      return { name: 'rxmika-sticky', metadata }
    },
    async assign({ members }) {
      const claims = members.map(({ memberId, memberMetadata }): StickyMember => {
        const metadata = MemberMetadata.decode(memberMetadata)
        return { id: memberId, topics: metadata?.topics ?? [], ...decodeOwnership(metadata?.userData) }
      })
      const topics = new Set(claims.flatMap(claim => claim.topics))
      const counts = await partitionCounts(cluster as unknown as Cluster, [...topics])
      return [...stickyAssignment(claims, counts)].map(([memberId, partitions]) => {
        const assignment = Object.fromEntries([...partitions].map(([topic, numbers]) => [topic, [...numbers]]))
        return { memberId, memberAssignment: MemberAssignment.encode({ version: 1, assignment, userData: nothing }) }
      })
    },
  })
}

const nothing = Buffer.alloc(0)

function encodeOwnership({ generation, owned }: Ownership): Buffer {
  const byTopic: Record<string, number[]> = Object.create(null)
  for (const { topic, partition } of owned) {
    byTopic[topic] ??= []
    byTopic[topic].push(partition)
  }
  return Buffer.from(JSON.stringify({ generation, owned: byTopic }))
}

/** What another member sent, of this version or another: what cannot be read owns nothing. */
export function decodeOwnership(userData: Buffer | undefined): Ownership {
  try {
    const { generation, owned } = JSON.parse(String(userData)) as {
      generation: number
      owned: Record<string, number[]>
    }
    if (!Number.isInteger(generation)) return { generation: -1, owned: [] }
    return {
      generation,
      owned: Object.entries(owned).flatMap(([topic, partitions]) =>
        partitions.map(partition => ({ topic, partition })),
      ),
    }
  } catch {
    return { generation: -1, owned: [] }
  }
}

/** Of other members' topics too: the leader need not subscribe to what it shares out. */
async function partitionCounts(cluster: Cluster, topics: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>()
  for (const topic of topics) {
    // A topic that is gone, or that only others may see, must not keep the whole group from its partitions.
    await cluster.addMultipleTargetTopics([topic]).catch(() => {})
    const count = cluster.findTopicPartitionMetadata(topic).length
    if (count > 0) counts.set(topic, count)
  }
  return counts
}
