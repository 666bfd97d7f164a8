import { fileURLToPath } from 'node:url'
import { javaProgram, kafkaClassPath } from './java'
import { run } from './run'

const program = fileURLToPath(new URL('./JavaShareMember.java', import.meta.url))

export interface SharedRecords {
  readonly brokers: readonly string[]
  readonly group: string
  readonly topic: string
  readonly count: number
}

/** Has a share group acknowledge this many records of a topic from its beginning, by Kafka's own consumer. */
export async function acknowledgeShared({ brokers, group, topic, count }: SharedRecords): Promise<void> {
  const quiet = '-Dorg.slf4j.simpleLogger.defaultLogLevel=error'
  const java = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', quiet, '-cp', await kafkaClassPath(), program]
  await run(javaProgram('java'), [...java, brokers.join(), group, topic, String(count)])
}
