import { ConfigurationError } from '../errors.js'
import { type Routing, type RoutingClient, routing, routingContract } from '../routing.js'

/**
 * Returns what a step needs of the client that it was given.
 *
 * @param step The name of the step, for the message.
 * @throws ConfigurationError if `client` is not a client of this version of the package.
 */
export function routingOf(client: RoutingClient, step: string): Routing {
  const found: unknown = (client as Partial<RoutingClient> | null | undefined)?.[routing]
  if (typeof found === 'object' && found !== null && (found as Routing).contract === routingContract) {
    return found as Routing
  }
  throw new ConfigurationError(
    `${step}: its first argument must be a client, made by createClient of this version of rxmika; ` +
      'two versions of the package in one program cannot share steps',
  )
}
