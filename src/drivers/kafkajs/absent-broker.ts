import { pass } from './deadline.js'
import { joinAgain } from './join-again.js'
import type { Broker, FetchResponse } from './kafkajs-internals.js'

/** How soon a broker that was away is tried again for fetching, ms. */
const pause = 500

/**
 * Stands in for a broker that cannot be reached. kafkajs stops fetching from all brokers when one is away, for a second
 * each time; this one has nothing to fetch, and refuses everything else.
 */
export function absentBroker(nodeId: number, error: unknown): Broker {
  const broker: Partial<Broker> = {
    nodeId,
    fetch: async (): Promise<FetchResponse> => {
      await pass(pause)
      return { responses: [] }
    },
    joinGroup: async () => {
      throw joinAgain(error)
    },
  }
  const refuse = async () => {
    throw error
  }
  return new Proxy(broker as Broker, {
    // A promise that is resolved with this asks whether it is one too.
    get: (target, name) => (name === 'then' ? undefined : (Reflect.get(target, name) ?? refuse)),
  })
}
