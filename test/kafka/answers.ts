import { setTimeout } from 'node:timers/promises'
import { Kafka, type KafkaConfig, logLevel } from 'kafkajs'

export interface AnswersOptions {
  /** The number of brokers the answer has to name. */
  brokers?: number
  /** How long to go on asking, in ms. */
  within?: number
  /** Stops asking. */
  signal?: AbortSignal
}

/** Asks for the metadata of the cluster until it is answered; rejects with the last error when time is up. */
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
