import type { Random } from './random'

export const group = 'chaos'
export const retryTopic = 'chaos-retry'
export const dlqTopic = 'chaos-dlq'
export const sharedPartitions = 3

/** After so many retries a record is dead-lettered. */
export const retries = 2
/** The delay before each of them, ms. */
export const retryDelays = [300, 1_500]

/** The least that a broker allows: the sooner a dead member's partitions are taken over, the more happens in a minute. */
export const sessionTimeout = 6_000
export const heartbeatInterval = 500
/** Less than the longest work takes: now and then a rebalance does not wait for the end of it. */
export const rebalanceTimeout = 3_000

export interface WorkTopic {
  readonly name: string
  readonly partitions: number
  /** Of what only one record at a time is worked on, in the order of the log. */
  readonly order: 'key' | 'partition' | 'none'
  readonly keys: number
  /** Records published per second. */
  readonly rate: number
}

export const workTopics: readonly WorkTopic[] = [
  { name: 'orders', partitions: 6, order: 'key', keys: 120, rate: 120 },
  { name: 'payments', partitions: 3, order: 'partition', keys: 30, rate: 20 },
  { name: 'views', partitions: 3, order: 'none', keys: 100, rate: 80 },
]

/** What a record asks of its handler; its value, as JSON. */
export interface Work {
  /** Nobody else's. */
  readonly id: string
  /** How long it takes, ms. */
  readonly ms: number
  /** How many of its attempts fail. */
  readonly failures: number
  /** Its first failure is its last: no retry is asked for. */
  readonly hopeless: boolean
}

export function someWork(id: string, topic: WorkTopic, random: Random): Work {
  const luck = random.next()
  const failures = luck < 0.9 ? 0 : luck < 0.95 ? 1 : luck < 0.98 ? 2 : retries + 1
  // Only settling by hand can say so, and it is done for this order.
  const hopeless = topic.order === 'none' && failures > 0 && random.chance(0.2)
  return { id, ms: duration(topic, random), failures, hopeless }
}

function duration({ order }: WorkTopic, random: Random): number {
  if (order === 'partition') return random.chance(0.01) ? random.between(200, 600) : random.between(0, 15)
  if (random.chance(0.001)) return rebalanceTimeout + 1_000
  return random.chance(0.01) ? random.between(300, 1_500) : random.between(0, 25)
}

/** Where a record ends whose work is that, after how many attempts. */
export function fate({ failures, hopeless }: Work): 'acked' | 'dead' {
  return hopeless || failures > retries ? 'dead' : 'acked'
}
