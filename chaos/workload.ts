import type { Random } from './random'

export const group = 'chaos'
export const retryTopic = 'chaos-retry'
export const dlqTopic = 'chaos-dlq'
export const sharedPartitions = 3

/** A record that fails after this many retries is dead-lettered. */
export const retries = 2
/** The delay before each retry, ms. */
export const retryDelays = [300, 1_500]

/** The minimum that brokers allow, ms. The sooner a dead member's partitions move, the more happens in a minute. */
export const sessionTimeout = 6_000
export const heartbeatInterval = 500
/** Shorter than the longest handler, so that in some rebalances a handler outlasts it, ms. */
export const rebalanceTimeout = 3_000

export interface WorkTopic {
  readonly name: string
  readonly partitions: number
  /** Records of one key, or of one partition, are handled one at a time, in the order of the log. */
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

/** What the handler does with a record. It is the record's value, as JSON. */
export interface Work {
  /** Unique in the run. */
  readonly id: string
  /** How long the handler takes, ms. */
  readonly ms: number
  /** How many of its first attempts fail. */
  readonly failures: number
  /** True: the record fails with `retry: false`. */
  readonly hopeless: boolean
}

export function someWork(id: string, topic: WorkTopic, random: Random): Work {
  const luck = random.next()
  const failures = luck < 0.9 ? 0 : luck < 0.95 ? 1 : luck < 0.98 ? 2 : retries + 1
  // Only `fail()` can refuse retries, and only the topic without order calls it: the others use `handle`.
  const hopeless = topic.order === 'none' && failures > 0 && random.chance(0.2)
  return { id, ms: duration(topic, random), failures, hopeless }
}

function duration({ order }: WorkTopic, random: Random): number {
  if (order === 'partition') return random.chance(0.01) ? random.between(200, 600) : random.between(0, 15)
  if (random.chance(0.001)) return rebalanceTimeout + 1_000
  return random.chance(0.01) ? random.between(300, 1_500) : random.between(0, 25)
}

/** How a record with this work ends. */
export function fate({ failures, hopeless }: Work): 'acked' | 'dead' {
  return hopeless || failures > retries ? 'dead' : 'acked'
}
