import type { TestProject } from 'vitest/node'
import type {} from './describe-kafka'
import { findKafka } from './find-kafka'
import { kafkaClassPath } from './java'
import { orNotRun } from './or-not-run'

/** Finds or starts the Kafka all suites share. Without one they are skipped, loudly, or fail where one is required. */
export default async function setup({ provide }: TestProject) {
  const kafka = await orNotRun(findKafka, 'The real-Kafka suites are NOT RUN.')
  provide('kafka', kafka && { brokers: kafka.brokers })
  const classPath = await orNotRun(kafkaClassPath, 'The suites that start a Kafka of their own are NOT RUN.')
  provide('canStartKafka', classPath !== undefined)
  return kafka?.stop
}
