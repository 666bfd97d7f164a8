import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel, type Producer } from 'kafkajs'
import type { At } from './journal'
import { Random } from './random'
import { someWork, type WorkTopic, workTopics } from './workload'

/** How often records are written, ms. */
const pace = 100
/** Requests under way per partition; a broker that is away is not waited for by ever more of them. */
const mostUnderWay = 3

/**
 * Publishes known records, by kafkajs alone, and remembers which of them Kafka has acknowledged.
 *
 * One request holds records of one partition: its answer leaves no doubt. Nothing is sent twice; what was refused, or
 * never answered, may be in the log or not, and is looked for there.
 */
export class Publishing {
  /** By id: where Kafka said it was written. */
  readonly acknowledged = new Map<string, At>()
  attempted = 0
  readonly #random: Random
  readonly #producer: Producer
  readonly #underWay = new Map<string, number>()
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

  /** Resolves when nothing is under way any more. Safe to call more than once. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#done
    await Promise.all(this.#requests)
    await this.#producer.disconnect()
  }

  async #publish(): Promise<void> {
    const began = performance.now()
    const given = new Map<WorkTopic, number>()
    while (!this.#stopped) {
      const elapsed = performance.now() - began
      for (const topic of workTopics) {
        const count = Math.floor((elapsed / 1_000) * topic.rate) - (given.get(topic) ?? 0)
        given.set(topic, (given.get(topic) ?? 0) + count)
        this.#send(topic, count)
      }
      await sleep(pace)
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
      const name = `${topic.name}/${partition}`
      const underWay = this.#underWay.get(name) ?? 0
      if (underWay >= mostUnderWay) continue
      this.#underWay.set(name, underWay + 1)
      const request = this.#request(topic.name, partition, batch)
        // Not acknowledged: it may be in the log all the same.
        .catch(() => {})
        .finally(() => {
          this.#underWay.set(name, this.#underWay.get(name)! - 1)
          this.#requests.delete(request)
        })
      this.#requests.add(request)
    }
  }

  async #request(topic: string, partition: number, batch: readonly { key: string; value: string; id: string }[]) {
    const messages = batch.map(({ key, value }) => ({ key, value, partition }))
    const [written] = await this.#producer.send({ topic, acks: -1, messages })
    const first = Number(written?.baseOffset ?? -1)
    if (first < 0) throw new Error('the answer names no place')
    for (const [index, { id }] of batch.entries()) {
      this.acknowledged.set(id, { topic, partition, offset: first + index })
    }
  }
}
