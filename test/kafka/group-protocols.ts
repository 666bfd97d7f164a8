import { KAFKA_VERSION } from './java'
import type { Properties } from './server-properties'

/** Both protocols, for fast scenarios. Slow scenarios use one of them. */
export const groupProtocols = ['classic', 'consumer'] as const

/** The consumer protocol (KIP-848) is enabled by default from Kafka 4.0. */
export const hasConsumerProtocol = Number.parseInt(KAFKA_VERSION, 10) >= 4

/** All pairs of protocols. */
export function combinations<A, B>(ones: readonly A[], others: readonly B[]): (readonly [A, B])[] {
  return ones.flatMap(one => others.map(other => [one, other] as const))
}

/** Broker settings: the session timeouts that classic members may have, and the session timeout of the consumer protocol. */
export function shortSessions(timeouts: {
  readonly sessionTimeout: number
  readonly heartbeatInterval: number
}): Properties {
  return {
    'group.min.session.timeout.ms': timeouts.sessionTimeout,
    'group.consumer.min.session.timeout.ms': timeouts.sessionTimeout,
    'group.consumer.session.timeout.ms': timeouts.sessionTimeout,
    'group.consumer.min.heartbeat.interval.ms': timeouts.heartbeatInterval,
    'group.consumer.heartbeat.interval.ms': timeouts.heartbeatInterval,
  }
}
