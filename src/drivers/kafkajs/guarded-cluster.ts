import type { Kafka } from 'kafkajs'
import { within } from './deadline.js'
import type { Cluster, ConnectionPool } from './kafkajs-internals.js'
import { isConnectionFailure, isRefusal, messageOf } from './protocol-error.js'
import { metadataKey, tolerantMetadata } from './tolerant-metadata.js'

/** How long requests under way may take until they are given up, ms: nothing that is closed waits for them. */
const disconnectTimeout = 500

/** Kafka's key of the Fetch request, for which kafkajs has a connection of its own in each pool. */
const fetchKey = 1
const apiVersionsKey = 18

/**
 * One kafkajs cluster, which can be ended.
 *
 * kafkajs tries again for ever, as told; nothing it offers ends an attempt under way. Here every new connection of a
 * cluster that was ended fails for good, which ends its retries, and the requests under way are rejected.
 */
export class GuardedCluster {
  readonly #pools = new Set<ConnectionPool>()
  #ended = false

  constructor(
    readonly cluster: Cluster,
    /** A broker cannot be reached, which can heal. kafkajs tries again and tells nobody. */
    readonly onUnreachable: (error: unknown) => void = () => {},
  ) {
    const { connectionPoolBuilder } = cluster
    const build = connectionPoolBuilder.build
    connectionPoolBuilder.build = async destination => {
      if (this.#ended) throw fatal('the connection is closed')
      const pool = await build(destination)
      this.#guard(pool)
      return pool
    }
  }

  #guard(pool: ConnectionPool): void {
    this.#pools.add(pool)
    const send = pool.send.bind(pool)
    pool.send = async request => {
      const { apiKey } = request.request
      try {
        return await send(apiKey === metadataKey ? tolerantMetadata(request) : request)
      } catch (error) {
        // kafkajs would go on asking on a connection that hangs.
        if ((error as Error).name === 'KafkaJSRequestTimeoutError') {
          pool.pool[apiKey === fetchKey ? 1 : 0]?.socket?.destroy(error as Error)
        }
        // Asked of a broker only once, first of all: what answers this as no Kafka would is none.
        if (apiKey === apiVersionsKey && isRefusal(error)) throw fatal(messageOf(error), error)
        if (!this.#ended && isConnectionFailure(error)) this.onUnreachable(error)
        throw error
      }
    }
    for (const connection of pool.pool) {
      const connect = connection.connect.bind(connection)
      connection.connect = async () => {
        if (this.#ended) throw fatal('the connection is closed')
        try {
          return await connect()
        } catch (error) {
          // A certificate that is refused would be refused at every attempt.
          if (isRefusal(error)) throw fatal(messageOf(error), error)
          if (!this.#ended) this.onUnreachable(error)
          throw error
        }
      }
    }
  }

  /** Closes the connections, in bounded time, and lets nothing connect again. Safe to call more than once. */
  async end(): Promise<void> {
    const disconnected = this.cluster.disconnect()
    this.#ended = true
    await within(disconnectTimeout, disconnected, 'closing the connections').catch(() => {})
    for (const { pool } of this.#pools) {
      for (const connection of pool) {
        try {
          connection.requestQueue.rejectAll(fatal('the connection is closed'))
        } catch {
          // Answered, or rejected, just before.
        }
        connection.requestQueue.destroy()
        connection.socket?.destroy()
      }
    }
  }
}

/** kafkajs gives up on an error that says it is not retriable. */
function fatal(message: string, cause?: unknown): Error {
  const code = (cause as { code?: string } | undefined)?.code
  return Object.assign(new Error(message, { cause }), { name: 'KafkaJSNonRetriableError', retriable: false, code })
}

/**
 * A cluster of its own. kafkajs hands one out in one place only, to the assigners of a consumer; so it is asked for a
 * consumer, which is never run.
 */
export function openCluster(kafka: Kafka, onUnreachable?: (error: unknown) => void): GuardedCluster {
  let opened: GuardedCluster | undefined
  kafka.consumer({
    groupId: 'none',
    allowAutoTopicCreation: true,
    partitionAssigners: [
      ({ cluster }) => {
        opened = new GuardedCluster(cluster as unknown as Cluster, onUnreachable)
        return {
          name: 'none',
          version: 0,
          assign: async () => [],
          protocol: () => ({ name: 'none', metadata: Buffer.alloc(0) }),
        }
      },
    ],
  })
  return opened!
}
