import { pino } from 'pino'
import type { Client } from '../client/client.js'
import { configure } from '../client/config.js'
import { createClient } from '../client/create-client.js'
import { TopicNames } from '../client/topic-names.js'
import { KafkaAdmin } from '../drivers/kafka/admin.js'
import { CommandFailure, exitCode, wrongUse } from './failure.js'

/** How every command reaches Kafka: by flags, or by the environment as a client reads it. */
export interface ConnectionFlags {
  readonly brokers?: string
  readonly ssl?: boolean
  readonly saslMechanism?: string
  readonly saslUsername?: string
  readonly suffix?: string
  readonly dlqTopic?: string
  readonly retryTopic?: string
}

/** How long the brokers have to answer at all, ms. */
const connectTimeout = 10_000

/** What the commands share. Topics and groups are given and shown without the suffix. */
export interface Connection {
  readonly client: Client
  readonly admin: KafkaAdmin
  /** Of groups, too. */
  readonly names: TopicNames
  readonly dlqTopic: string | undefined
  readonly retryTopic: string | undefined
  close(): Promise<void>
}

/**
 * Connects. The password comes by KAFKA_SASL_PASSWORD alone: flags are seen by everyone on the machine.
 *
 * @throws CommandFailure when no broker answers. @throws ConfigurationError when flags or environment are invalid.
 */
export async function connect(flags: ConnectionFlags, env: NodeJS.ProcessEnv): Promise<Connection> {
  const given: Record<string, string | undefined> = {
    KAFKA_BROKERS: flags.brokers,
    KAFKA_TLS_ENABLED: flags.ssl === undefined ? undefined : String(flags.ssl),
    KAFKA_SASL_MECHANISM: flags.saslMechanism,
    KAFKA_SASL_USERNAME: flags.saslUsername,
    KAFKA_GLOBAL_SUFFIX: flags.suffix,
  }
  const merged = (name: string) => given[name] ?? env[name]
  const options = { env: merged, clientId: 'rxmika-cli', logger: false } as const
  const { brokers, ssl, sasl, suffix } = configure(options)
  const logger = pino({ enabled: false })
  const admin = new KafkaAdmin(
    { brokers, ...(ssl !== undefined && { ssl }), ...(sasl !== undefined && { sasl }) },
    'rxmika-cli',
    logger,
  )
  try {
    await admin.connect(connectTimeout)
  } catch (error) {
    admin.close()
    throw new CommandFailure((error as Error).message, exitCode.failed, { cause: error })
  }
  const client = createClient(options)
  return {
    client,
    admin,
    names: new TopicNames(suffix),
    dlqTopic: flags.dlqTopic ?? env.KAFKA_DLQ_TOPIC,
    retryTopic: flags.retryTopic ?? env.KAFKA_RETRY_TOPIC,
    async close() {
      admin.close()
      await client.close()
    },
  }
}

export function needDlqTopic({ dlqTopic }: Connection): string {
  if (dlqTopic === undefined || dlqTopic === '') throw wrongUse('which DLQ topic? Set --dlq-topic or KAFKA_DLQ_TOPIC')
  return dlqTopic
}
