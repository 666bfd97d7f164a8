import type { Properties } from './server-properties'

/** Both, where a scenario takes no time; a slow one is played by one of them. */
export const groupProtocols = ['classic', 'consumer'] as const

/** Every pair of one of each. */
export function combinations<A, B>(ones: readonly A[], others: readonly B[]): (readonly [A, B])[] {
  return ones.flatMap(one => others.map(other => [one, other] as const))
}

/** Of the brokers, which allow members such sessions by the classic protocol and have them themselves by the other. */
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
