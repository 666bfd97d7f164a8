import { pass } from './deadline.js'
import type { Broker, Cluster } from './kafkajs-internals.js'
import { errorType, isConnectionFailure } from './protocol-error.js'

const firstRetry = 100
const longestRetry = 1_000

/**
 * The broker that coordinates the group, wherever it is by now.
 *
 * kafkajs looks for it when it joins and at no other time: while the one it knows is away it fetches in bursts, and when
 * the group has moved to another broker it rejoins. The new coordinator knows members and generation as the old one did,
 * so here requests simply go to it.
 */
export class Coordinator {
  #nodeId: number | undefined
  #seeking = false
  #ended = false

  constructor(
    readonly groupId: string,
    readonly cluster: Cluster,
    readonly findGroupCoordinator: Cluster['findGroupCoordinator'],
  ) {}

  is(broker: Broker): void {
    this.#nodeId = broker.nodeId
  }

  /** Sends a request to it; after a failure that a move can explain, it is looked for. */
  async ask<T>(request: (broker: Broker) => Promise<T>): Promise<T> {
    try {
      if (this.#nodeId === undefined) throw new Error('the group has no coordinator yet')
      // The cluster's own `findBroker` asks for new metadata first when a broker is away, and that of brokers which may
      // all be: nobody would hear of it before one is back.
      return await request(await this.cluster.brokerPool.findBroker({ nodeId: this.#nodeId }))
    } catch (error) {
      if (mayHaveMoved(error)) this.#seek().catch(() => {})
      throw error
    }
  }

  async #seek(): Promise<void> {
    if (this.#seeking) return
    this.#seeking = true
    for (let failures = 0; !this.#ended; failures++) {
      try {
        const found = await this.findGroupCoordinator({ groupId: this.groupId })
        await this.cluster.brokerPool.findBroker({ nodeId: found.nodeId })
        this.#nodeId = found.nodeId
        break
      } catch {
        await pass(Math.min(firstRetry * 2 ** failures, longestRetry))
        if (!this.#ended) await this.cluster.refreshMetadata().catch(() => {})
      }
    }
    this.#seeking = false
  }

  end(): void {
    this.#ended = true
  }
}

/** Another broker may coordinate the group, or will soon. */
export function mayHaveMoved(error: unknown): boolean {
  const type = errorType(error)
  return isConnectionFailure(error) || (type !== undefined && movedTypes.has(type))
}

const movedTypes = new Set(['NOT_COORDINATOR_FOR_GROUP', 'GROUP_COORDINATOR_NOT_AVAILABLE', 'GROUP_LOAD_IN_PROGRESS'])
