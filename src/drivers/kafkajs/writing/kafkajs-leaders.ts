import type { Kafka } from 'kafkajs'
import { defer, from, map, type Observable } from 'rxjs'
import { within } from '../deadline.js'
import { type GuardedCluster, openCluster } from '../guarded-cluster.js'
import type { Broker, ProtocolRequest } from '../kafkajs-internals.js'
import { errorType, isNotAuthorized, isRefusal, messageWithBroker } from '../protocol-error.js'
import type { Reachability } from '../reachability.js'
import {
  type Leaders,
  noProducerId,
  type OutgoingBatch,
  type PartitionLeader,
  type ProducerId,
  WriteError,
} from './leaders.js'
import {
  decodeProduce,
  encodeProduce,
  newestProduceVersion,
  type ProduceAnswer,
  type ProduceResponse,
  produceKey,
} from './produce-bytes.js'
import { askForPartitions } from './topic-partitions.js'

/** How long a broker may wait for its replicas, ms. */
const acknowledgementTimeout = 10_000
/** After this a step counts as not answered, ms; kafkajs waits without bound for some. */
const stepTimeout = 10_000
/** An answer may take as long as kafkajs lets it, the broker's own wait and a connection made anew included, ms. */
const produceTimeout = 25_000

/** The brokers, by way of kafkajs. */
export class KafkajsLeaders implements Leaders {
  readonly #guarded: GuardedCluster
  #connected: Promise<void> | undefined

  /** @param onUnreachable A broker cannot be reached; it is tried again. */
  constructor(kafka: Kafka, reachability: Reachability | undefined, onUnreachable: (error: unknown) => void) {
    this.#guarded = openCluster(kafka, reachability, onUnreachable)
  }

  partitions(topic: string): Observable<readonly PartitionLeader[]> {
    return defer(() => from(this.#partitions(topic)))
  }

  producerId(): Observable<ProducerId> {
    return defer(() => from(this.#producerId()))
  }

  produce(node: number, batches: readonly OutgoingBatch[]): Observable<readonly ProduceAnswer[]> {
    return defer(() => from(this.#produce(node, batches))).pipe(map(({ answers }) => answers))
  }

  async end(): Promise<void> {
    await this.#guarded.end()
  }

  async #partitions(topic: string): Promise<readonly PartitionLeader[]> {
    try {
      await this.#connect()
      return await within(stepTimeout, askForPartitions(this.#guarded.cluster, topic), `the metadata of ${topic}`)
    } catch (error) {
      throw writeError(error, true)
    }
  }

  async #producerId(): Promise<ProducerId> {
    try {
      await this.#connect()
      const broker = await this.#guarded.cluster.brokerPool.findConnectedBroker()
      const given = await within(stepTimeout, broker.initProducerId({ transactionTimeout: 60_000 }), 'a producer id')
      return { id: BigInt(given.producerId), epoch: given.producerEpoch }
    } catch (error) {
      // Kafka before 3.0 asks for a permission of its own. Without it a repeated batch may be written twice.
      if (isNotAuthorized(error)) return { id: noProducerId, epoch: -1 }
      throw writeError(error, true)
    }
  }

  async #produce(node: number, batches: readonly OutgoingBatch[]): Promise<ProduceResponse> {
    let broker: Broker
    try {
      broker = await within(stepTimeout, this.#guarded.cluster.findBroker({ nodeId: node }), `broker ${node}`)
    } catch (error) {
      throw writeError(error, true)
    }
    try {
      return await within(produceTimeout, send(broker, batches), `broker ${node}`)
    } catch (error) {
      throw writeError(error, false)
    }
  }

  #connect(): Promise<void> {
    this.#connected ??= this.#open().catch(error => {
      this.#connected = undefined
      throw error
    })
    return within(stepTimeout, this.#connected, 'connecting')
  }

  async #open(): Promise<void> {
    await this.#guarded.cluster.connect()
    await this.#guarded.cluster.refreshMetadata()
  }
}

function writeError(cause: unknown, unsent: boolean): WriteError {
  const permanent = isNotAuthorized(cause) || isRefusal(cause) || errorType(cause) === 'INVALID_TOPIC_EXCEPTION'
  return new WriteError(messageWithBroker(cause), { cause, permanent, unsent })
}

/** kafkajs's own request makes one error of all, and does not tell which partitions were written. */
async function send(broker: Broker, batches: readonly OutgoingBatch[]): Promise<ProduceResponse> {
  const version = Math.min(newestProduceVersion, broker.versions?.[produceKey]?.maxVersion ?? newestProduceVersion)
  const request: ProtocolRequest = {
    request: {
      apiKey: produceKey,
      apiVersion: version,
      apiName: 'Produce',
      encode: async () => {
        const buffer = encodeProduce(batches, acknowledgementTimeout)
        return { buf: buffer, buffer }
      },
    },
    response: {
      decode: async payload => {
        const response = decodeProduce(payload, version)
        // From version 6 on it is for the client to wait.
        return { response, clientSideThrottleTime: version >= 6 ? response.throttle : 0 }
      },
      parse: async decoded => (decoded as { response: ProduceResponse }).response,
    },
  }
  return (await broker.connectionPool.send(request)) as ProduceResponse
}
