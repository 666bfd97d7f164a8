import { setTimeout } from 'node:timers/promises'
import { Kafka, type KafkaConfig, logLevel } from 'kafkajs'

export interface AnswersOptions {
  /** The number of brokers that the answer must list. */
  brokers?: number
  /** How long to repeat the request, ms. */
  within?: number
  /** Stops repeating. */
  signal?: AbortSignal
}

/** Requests the cluster's metadata until there is an answer. Rejects with the last error after the time-out. */
export const answers = async (config: KafkaConfig, options: AnswersOptions = {}): Promise<void> => {
  const { brokers = 1, within = 60_000, signal } = options
  const deadline = Date.now() + within
  for (;;) {
    const failure = await ask(config, brokers)
    if (!failure || signal?.aborted) return
    if (Date.now() > deadline) throw new Error(`no Kafka answers at ${config.brokers}: ${failure.message}`)
    await setTimeout(100)
  }
}

const ask = async (config: KafkaConfig, brokers: number): Promise<Error | undefined> => {
  const once = { connectionTimeout: 2000, requestTimeout: 5000, retry: { retries: 0 }, logLevel: logLevel.NOTHING }
  const admin = new Kafka({ ...config, ...once }).admin()
  try {
    await admin.connect()
    const cluster = await admin.describeCluster()
    if (cluster.brokers.length < brokers) return new Error(`${cluster.brokers.length} of ${brokers} brokers are up`)
  } catch (error) {
    return error as Error
  } finally {
    await admin.disconnect()
  }
}
