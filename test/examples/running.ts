import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { firstValueFrom, toArray } from 'rxjs'
import { type Client, createClient, type PublishRecord, type RecordMetadata } from 'rxmika'
import { afterEach, beforeEach, inject } from 'vitest'
import { Example } from '../docs/run-example'
import { createTopic } from '../kafka/create-topic'
import { kafkaBrokers } from '../kafka/describe-kafka'

/** Runs an example as a user does, with topics that only the current test uses. */
export class Running {
  #suffix = ''
  #client!: Client
  readonly folder: string

  private constructor(readonly name: string) {
    this.folder = join(inject('examples'), name)
    beforeEach(() => {
      this.#suffix = `-${randomUUID().slice(0, 8)}`
      this.#client = createClient({ brokers: kafkaBrokers, suffix: this.#suffix, logger: false })
    })
    afterEach(() => this.#client.close())
  }

  /** Called at the beginning of a suite. */
  static of(name: string): Running {
    return new Running(name)
  }

  /** Starts the example with these environment variables, and with those that all examples use. */
  start(env: Readonly<Record<string, string>> = {}): Example {
    const common = { KAFKA_BROKERS: kafkaBrokers.join(','), KAFKA_GLOBAL_SUFFIX: this.#suffix, PORT: '0' }
    return new Example('main', { ...common, ...env }, this.folder)
  }

  topics(...names: readonly string[]): Promise<unknown> {
    const topics = names.map(name => ({ topic: name + this.#suffix, numPartitions: 1 }))
    return Promise.all(topics.map(topic => createTopic({ brokers: kafkaBrokers }, topic)))
  }

  publish(topic: string, ...records: readonly Omit<PublishRecord, 'topic'>[]): Promise<RecordMetadata[]> {
    return firstValueFrom(this.#client.publish(records.map(record => ({ topic, ...record }))))
  }

  async values(topic: string): Promise<string[]> {
    const records = await firstValueFrom(this.#client.read(topic).pipe(toArray()))
    return records.map(({ value }) => String(value))
  }
}
