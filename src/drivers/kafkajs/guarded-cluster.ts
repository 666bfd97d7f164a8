import type { Kafka } from 'kafkajs'
import { systemClock } from '../../clock.js'
import { within } from './deadline.js'
import type { Cluster, Connection, ConnectionPool } from './kafkajs-internals.js'
import { brokerOf, isConnectionFailure, isNotKafka, isRefusal, isTlsRefusal, messageOf } from './protocol-error.js'
import type { BrokerAddress, Reachability } from './reachability.js'
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
  /** Failures that pass here a second time on their way up. */
  readonly #counted = new WeakSet<Error>()
  #ended = false

  constructor(
    readonly cluster: Cluster,
    /** A broker cannot be reached, which can heal. kafkajs tries again and tells nobody. */
    readonly onUnreachable: (error: unknown) => void = () => {},
    /** Of the driver that this cluster belongs to. */
    readonly reachability?: Reachability,
  ) {
    const { connectionPoolBuilder } = cluster
    const build = connectionPoolBuilder.build
    connectionPoolBuilder.build = async destination => {
      if (this.#ended) throw fatal('the connection is closed')
      const pool = await build(destination)
      // kafkajs names a host where a broker has told it of one; otherwise it takes the next of the client's option.
      this.#guard(pool, (destination as { host?: string } | undefined)?.host !== undefined)
      return pool
    }
  }

  #guard(pool: ConnectionPool, advertised: boolean): void {
    const { host, port } = pool
    const broker: BrokerAddress = { host, port, advertised }
    this.#guardRequests(pool, broker)
    for (const connection of pool.pool) {
      this.#guardConnecting(pool, connection, broker)
      checkPendingOnly(connection.requestQueue)
    }
    // kafkajs makes a pool for each attempt to connect, and keeps none of them: neither may we, or an outage would
    // take memory for as long as it lasts. One that connects again comes back.
    const destroy = pool.destroy.bind(pool)
    pool.destroy = async () => {
      try {
        await destroy()
      } finally {
        if (!pool.isConnected()) this.#pools.delete(pool)
      }
    }
  }

  #guardRequests(pool: ConnectionPool, broker: BrokerAddress): void {
    const send = pool.send.bind(pool)
    pool.send = async request => {
      const { apiKey } = request.request
      const asked = systemClock.monotonic()
      // The first request on a connection, before which nobody knows whether anybody answers at all.
      const first = apiKey === apiVersionsKey
      if (first) this.reachability?.begins(broker)
      try {
        const answer = await send(apiKey === metadataKey ? tolerantMetadata(request) : request)
        if (!first) this.reachability?.answers(broker)
        // Whoever has to log in has not arrived yet.
        else if (pool.sasl) this.reachability?.connected(broker)
        else this.reachability?.answers(broker)
        return answer
      } catch (error) {
        if (first) this.reachability?.connected(broker)
        // kafkajs would go on asking on a connection that hangs.
        const late = (error as Error).name === 'KafkaJSRequestTimeoutError'
        if (late) pool.pool[apiKey === fetchKey ? 1 : 0]?.socket?.destroy(error as Error)
        // Asked of a broker only once, first of all: what answers this as no Kafka would is none.
        if (first && isRefusal(error)) throw this.#refusal(error, broker)
        if (isConnectionFailure(error)) this.#failed(broker, error, late ? asked : undefined)
        throw at(broker, error)
      }
    }
  }

  #guardConnecting(pool: ConnectionPool, connection: Connection, broker: BrokerAddress): void {
    const connect = connection.connect.bind(connection)
    connection.connect = async () => {
      if (this.#ended) throw fatal('the connection is closed')
      this.#pools.add(pool)
      this.reachability?.begins(broker)
      try {
        return await connect()
      } catch (error) {
        if (isRefusal(error)) throw this.#refusal(error, broker)
        this.#failed(broker, error)
        throw error
      } finally {
        this.reachability?.connected(broker)
      }
    }
    if (!pool.sasl) return
    const authenticate = connection.authenticate.bind(connection)
    connection.authenticate = async () => {
      this.reachability?.begins(broker)
      try {
        await authenticate()
        this.reachability?.answers(broker)
      } catch (error) {
        this.reachability?.connected(broker)
        if (isConnectionFailure(error)) this.#failed(broker, error)
        throw at(broker, error)
      }
    }
  }

  #failed(broker: BrokerAddress, error: unknown, since?: number): void {
    if (this.#ended || this.#counted.has(error as Error)) return
    this.#counted.add(error as Error)
    this.reachability?.fails(broker, error, since)
    this.onUnreachable(error)
  }

  /**
   * A certificate that is refused, or a port that speaks something else, would be the same at every attempt. Of the
   * brokers that the client was given that is the end. One that was advertised is one of several, and may be mended.
   */
  #refusal(error: unknown, broker: BrokerAddress): Error {
    const mayHeal = broker.advertised && (isTlsRefusal(error) || isNotKafka(error))
    if (!mayHeal) return at(broker, fatal(messageOf(error), error))
    this.#failed(broker, error)
    const failure = Object.assign(new Error(messageOf(error)), { name: 'KafkaJSConnectionError', retriable: true })
    this.#counted.add(failure)
    return at(broker, failure)
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

/** The error, which says of which broker it is: kafkajs does so for some alone. */
function at<T>(broker: BrokerAddress, error: T): T {
  if (error instanceof Error && brokerOf(error) === undefined) {
    Object.assign(error, { broker: `${broker.host}:${broker.port}` })
  }
  return error
}

/**
 * kafkajs looks every millisecond for requests that wait, also where none does, and sets a timer of a negative time for
 * it, which Node 24 warns of. Where none waits there is nothing to look for: each that comes to wait asks for it again.
 */
function checkPendingOnly(queue: Connection['requestQueue']): void {
  const schedule = queue.scheduleCheckPendingRequests.bind(queue)
  queue.scheduleCheckPendingRequests = () => {
    if (queue.pending.length > 0) schedule()
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
export function openCluster(
  kafka: Kafka,
  reachability?: Reachability,
  onUnreachable?: (error: unknown) => void,
): GuardedCluster {
  let opened: GuardedCluster | undefined
  kafka.consumer({
    groupId: 'none',
    allowAutoTopicCreation: true,
    partitionAssigners: [
      ({ cluster }) => {
        opened = new GuardedCluster(cluster as unknown as Cluster, onUnreachable, reachability)
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
