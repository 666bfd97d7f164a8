import type { ProducerSequence } from '../../protocol/records/record-batch-encoder.js'
import type { Cluster } from './kafkajs-internals.js'
import { isNotAuthorized } from './protocol-error.js'

const none = -1n
const longest = 2 ** 31

/** Who we are to the brokers, and how much we wrote as that: what a broker recognizes a repeated batch by. */
export class ProducerIdentity {
  /** A batch under it has an outcome that nobody knows: nothing new is sent as this. */
  retired = false
  readonly #sequences = new Map<string, number>()

  private constructor(
    readonly producerId: bigint,
    readonly epoch: number,
  ) {}

  static async obtain(cluster: Cluster): Promise<ProducerIdentity> {
    try {
      const broker = await cluster.brokerPool.findConnectedBroker()
      const { producerId, producerEpoch } = await broker.initProducerId({ transactionTimeout: 60_000 })
      return new ProducerIdentity(BigInt(producerId), producerEpoch)
    } catch (error) {
      // Kafka before 3.0 asks for a permission of its own. Without it a repeated batch may be written twice.
      if (isNotAuthorized(error)) return new ProducerIdentity(none, -1)
      throw error
    }
  }

  next(partition: string): ProducerSequence {
    const first = this.producerId === none ? -1 : (this.#sequences.get(partition) ?? 0)
    return { producerId: this.producerId, epoch: this.epoch, first }
  }

  advance(partition: string, records: number): void {
    // Beyond the largest int32 Kafka goes on at 0.
    this.#sequences.set(partition, ((this.#sequences.get(partition) ?? 0) + records) % longest)
  }
}
