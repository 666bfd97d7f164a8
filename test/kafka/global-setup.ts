import { Kafka, logLevel } from 'kafkajs'
import type { TestProject } from 'vitest/node'
import type {} from './describe-kafka'
import { findKafka } from './find-kafka'
import { kafkaClassPath } from './java'
import { orNotRun } from './or-not-run'

/** Finds or starts the Kafka that all suites share. Without one, the suites are skipped with a message, or fail if one is required. */
export default async function setup({ provide }: TestProject) {
  const kafka = await orNotRun(findKafka, 'The real-Kafka suites are NOT RUN.')
  if (kafka !== undefined) await makeCoordinators(kafka.brokers)
  provide('kafka', kafka && { brokers: kafka.brokers })
  const classPath = await orNotRun(kafkaClassPath, 'The suites that start a Kafka of their own are NOT RUN.')
  provide('canStartKafka', classPath !== undefined)
  return kafka?.stop
}

/** Kafka creates the topic of committed positions for the first group, which waits for it. Describes a group, so that no test is first. */
async function makeCoordinators(brokers: readonly string[]): Promise<void> {
  const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING, retry: { retries: 20 } }).admin()
  await admin.connect()
  try {
    await admin.describeGroups(['made-before-the-tests'])
  } finally {
    await admin.disconnect()
  }
}
