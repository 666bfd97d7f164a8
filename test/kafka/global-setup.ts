import type { TestProject } from 'vitest/node'
import type {} from './describe-kafka'
import { findKafka, NoKafka } from './find-kafka'
import { kafkaClassPath } from './java'
import { Unavailable } from './run'

const required = process.env.RXMIKA_KAFKA === 'required' || Boolean(process.env.CI)

/** Finds or starts the Kafka all suites share. Without one they are skipped, loudly, or fail where one is required. */
export default async function setup({ provide }: TestProject) {
  const kafka = await orNotRun(findKafka, 'The real-Kafka suites are NOT RUN.')
  provide('kafka', kafka && { brokers: kafka.brokers })
  const classPath = await orNotRun(kafkaClassPath, 'The suites that start a Kafka of their own are NOT RUN.')
  provide('canStartKafka', classPath !== undefined)
  return kafka?.stop
}

const orNotRun = async <T>(find: () => Promise<T>, notRun: string): Promise<T | undefined> => {
  try {
    return await find()
  } catch (error) {
    if (required || !(error instanceof NoKafka || error instanceof Unavailable)) throw error
    console.warn(`\n${notRun}\n${error.message}\n`)
    return undefined
  }
}
