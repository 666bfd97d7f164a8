import { ConfigurationError } from '../errors.js'
import { invalid } from '../options.js'
import type { Routing, RoutingClient } from '../routing.js'
import { GroupHeaders, isTopicName } from './headers.js'
import { routingOf } from './routing-of.js'

/** The topic of a step's copies, and the headers that mark them. */
export interface Destination {
  readonly routing: Routing
  readonly headers: GroupHeaders
  /** The full name. */
  readonly topic: string
}

/** @throws ConfigurationError if the client has no such topic and none is named, or if it has no group. */
export function destinationOf(
  client: RoutingClient,
  step: string,
  option: 'retryTopic' | 'dlqTopic',
  named: string | undefined,
): Destination {
  const clientRouting = routingOf(client, step)
  if (named !== undefined && typeof named !== 'string') throw invalid(`${step}: topic`, named, 'must be a string')
  const topic = named === undefined ? clientRouting[option] : clientRouting.fullName(named)
  if (topic === undefined) {
    throw new ConfigurationError(`${step}: the client has no ${option}; set it in createClient, or name a topic here`)
  }
  if (named === '' || !isTopicName(topic)) throw invalid(`${step}: topic`, named ?? topic, 'must be a Kafka topic name')
  if (clientRouting.group === undefined) {
    throw new ConfigurationError(`${step}: copies are marked with the client's group, and it has none; set group`)
  }
  return { routing: clientRouting, headers: new GroupHeaders(clientRouting.group), topic }
}
