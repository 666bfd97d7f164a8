import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel, type Producer } from 'kafkajs'
import { type At, partitionOf } from './journal'
import { Random } from './random'
import { someWork, type WorkTopic, workTopics } from './workload'

/** Interval between two requests, ms. */
const sendEvery = 100
/** Limit on requests in flight per partition. Beyond it, records are not published, so that requests do not pile up in an outage. */
const maxInFlight = 3

/**
 * Publishes known records with plain kafkajs, and keeps which of them Kafka has acknowledged.
 *
 * A request contains records of one partition only, so its answer is unambiguous. No request is sent twice. Records whose
 * request failed may be in the log or not; the check reads the log.
 */
export class Publishing {
  /** By record id: the place that Kafka acknowledged. */
  readonly acknowledged = new Map<string, At>()
  attempted = 0
  readonly #random: Random
  readonly #producer: Producer
  /** Requests in flight by partition. */
  readonly #inFlight = new Map<string, number>()
  readonly #requests = new Set<Promise<void>>()
  #stopped = false
  #done: Promise<void> | undefined

  constructor(brokers: readonly string[], seed: number) {
    this.#random = new Random(seed)
    const kafka = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING, requestTimeout: 10_000 })
    this.#producer = kafka.producer({ retry: { retries: 0 }, metadataMaxAge: 2_000 })
  }

  async start(): Promise<void> {
    await this.#producer.connect()
    this.#done = this.#publish()
  }

  /** Resolves when no request is in flight. May be called more than once. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#done
    await Promise.all(this.#requests)
    await this.#producer.disconnect()
  }

  async #publish(): Promise<void> {
    const began = performance.now()
    const sent = new Map<WorkTopic, number>()
    while (!this.#stopped) {
      const elapsed = performance.now() - began
      for (const topic of workTopics) {
        const count = Math.floor((elapsed / 1_000) * topic.rate) - (sent.get(topic) ?? 0)
        sent.set(topic, (sent.get(topic) ?? 0) + count)
        this.#send(topic, count)
      }
      await sleep(sendEvery)
    }
  }

  #send(topic: WorkTopic, count: number): void {
    const batches = new Map<number, { key: string; value: string; id: string }[]>()
    for (let at = 0; at < count; at++) {
      const id = `${topic.name}-${this.attempted++}`
      const key = this.#random.between(0, topic.keys - 1)
      const value = JSON.stringify(someWork(id, topic, this.#random))
      const partition = key % topic.partitions
      const batch = batches.get(partition) ?? []
      batches.set(partition, batch)
      batch.push({ id, key: `key-${key}`, value })
    }
    for (const [partition, batch] of batches) {
      const name = partitionOf({ topic: topic.name, partition })
      const inFlight = this.#inFlight.get(name) ?? 0
      if (inFlight >= maxInFlight) continue
      this.#inFlight.set(name, inFlight + 1)
      const request = this.#request(topic.name, partition, batch)
        // Not acknowledged. The records may be in the log nevertheless.
        .catch(() => {})
        .finally(() => {
          this.#inFlight.set(name, this.#inFlight.get(name)! - 1)
          this.#requests.delete(request)
        })
      this.#requests.add(request)
    }
  }

  async #request(topic: string, partition: number, batch: readonly { key: string; value: string; id: string }[]) {
    const messages = batch.map(({ key, value }) => ({ key, value, partition }))
    const [written] = await this.#producer.send({ topic, acks: -1, messages })
    const first = Number(written?.baseOffset ?? -1)
    if (first < 0) throw new Error('the answer has no offset')
    for (const [index, { id }] of batch.entries()) {
      this.acknowledged.set(id, { topic, partition, offset: first + index })
    }
  }
}
