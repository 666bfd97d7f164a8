import { partitionName } from '../../place.js'
import type { Cluster } from './kafkajs-internals.js'
import { type OutgoingBatch, type ProduceAnswer, sendProduceRequest } from './produce-request.js'

/** How long a broker may wait for its replicas, ms. */
const acknowledgementTimeout = 10_000

interface Waiting {
  readonly batch: OutgoingBatch
  readonly resolve: (answer: ProduceAnswer) => void
  readonly reject: (error: unknown) => void
}

/** Sends the batches for one broker that are ready in the same turn of the event loop in one request. */
export class BrokerOutbox {
  readonly #waiting = new Map<number, Waiting[]>()

  constructor(readonly cluster: Cluster) {}

  /** The leader's answer to this batch; rejects when there is none, which leaves open whether it was written. */
  send(nodeId: number, batch: OutgoingBatch): Promise<ProduceAnswer> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(nodeId)
      if (waiting !== undefined) {
        waiting.push({ batch, resolve, reject })
        return
      }
      this.#waiting.set(nodeId, [{ batch, resolve, reject }])
      setImmediate(() => {
        const together = this.#waiting.get(nodeId)!
        this.#waiting.delete(nodeId)
        this.#flush(nodeId, together).catch(error => {
          for (const one of together) one.reject(error)
        })
      })
    })
  }

  async #flush(nodeId: number, waiting: readonly Waiting[]): Promise<void> {
    const broker = await this.cluster.findBroker({ nodeId })
    const batches = waiting.map(({ batch }) => batch)
    const answers = await sendProduceRequest(broker, batches, acknowledgementTimeout)
    for (const { batch, resolve, reject } of waiting) {
      const answer = answers.find(({ topic, partition }) => topic === batch.topic && partition === batch.partition)
      // An answer that leaves out a partition says nothing about it.
      if (answer === undefined) reject(new Error(`the broker did not answer for ${partitionName(batch)}`))
      else resolve(answer)
    }
  }
}
