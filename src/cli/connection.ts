import { pino } from 'pino'
import type { Client } from '../client/client.js'
import { configure } from '../client/config.js'
import { createClient } from '../client/create-client.js'
import { TopicNames } from '../client/topic-names.js'
import { KafkaAdmin } from '../drivers/kafka/admin.js'
import { isRxMikaError } from '../errors.js'
import { CommandFailure, exitCode, wrongUse } from './failure.js'

/** The flags by which a command connects to Kafka. An absent one is read from the environment key that a client reads for it. */
export interface ConnectionFlags {
  readonly brokers?: string
  readonly ssl?: boolean
  readonly saslMechanism?: string
  readonly saslUsername?: string
  readonly suffix?: string
  readonly dlqTopic?: string
  readonly retryTopic?: string
}

/** How long the command waits for the first answer of a broker, ms. */
const connectTimeout = 5_000

/** A connection to Kafka. Users give and see the names of topics and groups without the suffix. */
export interface Connection {
  readonly client: Client
  readonly admin: KafkaAdmin
  /** For the names of groups too. */
  readonly names: TopicNames
  readonly dlqTopic: string | undefined
  readonly retryTopic: string | undefined
  close(): Promise<void>
}

/**
 * Connects. The password is read from KAFKA_SASL_PASSWORD only: everyone on the machine can see flags.
 *
 * Rejects with a `CommandFailure` if no broker answers, and with a `ConfigurationError` if flags or environment are invalid.
 */
export async function connect(
  flags: ConnectionFlags,
  env: NodeJS.ProcessEnv,
  interrupted: AbortSignal,
): Promise<Connection> {
  const given: Given = {
    KAFKA_BROKERS: flags.brokers,
    KAFKA_TLS_ENABLED: flags.ssl === undefined ? undefined : String(flags.ssl),
    KAFKA_SASL_MECHANISM: flags.saslMechanism,
    KAFKA_SASL_USERNAME: flags.saslUsername,
    KAFKA_GLOBAL_SUFFIX: flags.suffix,
  }
  const merged = (name: string) => given[name] ?? env[name]
  const options = { env: merged, clientId: 'rxmika-cli', logger: false } as const
  const { brokers, ssl, sasl, suffix } = configured(options, given)
  const logger = pino({ enabled: false })
  const admin = new KafkaAdmin(
    { brokers, ...(ssl !== undefined && { ssl }), ...(sasl !== undefined && { sasl }) },
    'rxmika-cli',
    logger,
    interrupted,
  )
  const stopConnecting = () => admin.close()
  interrupted.addEventListener('abort', stopConnecting)
  try {
    await admin.connect(connectTimeout)
  } catch (error) {
    admin.close()
    interrupted.throwIfAborted()
    const message = (error as Error).message
      .replace('see the option sasl', 'see --sasl-mechanism, --sasl-username and KAFKA_SASL_PASSWORD')
      .replace(/^no broker answers within \d+ ms/, '$& (see --brokers and KAFKA_BROKERS)')
    throw new CommandFailure(message, exitCode.failed, { cause: error })
  } finally {
    interrupted.removeEventListener('abort', stopConnecting)
  }
  const client = createClient(options)
  // Ends the client's reads. A write of `admin` that has begun is completed.
  interrupted.addEventListener('abort', () => {
    client.close().catch(() => {})
  })
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

type Given = Readonly<Record<string, string | undefined>>

const flagNames: Readonly<Record<string, string>> = {
  KAFKA_BROKERS: '--brokers',
  KAFKA_TLS_ENABLED: '--ssl',
  KAFKA_SASL_MECHANISM: '--sasl-mechanism',
  KAFKA_SASL_USERNAME: '--sasl-username',
  KAFKA_GLOBAL_SUFFIX: '--suffix',
}

/** Flags are read as environment keys. An error names the flag if the value came from one. */
function configured(options: Parameters<typeof configure>[0], given: Given) {
  try {
    return configure(options)
  } catch (error) {
    if (!isRxMikaError(error, 'RXMIKA_CONFIGURATION')) throw error
    const message = error.message.replace(/KAFKA_[A-Z_]+/g, key =>
      given[key] === undefined ? key : (flagNames[key] ?? key),
    )
    throw new CommandFailure(message, exitCode.wrongUse, { cause: error })
  }
}

/** @throws CommandFailure if neither flag nor environment names a DLQ topic. */
export function needDlqTopic({ dlqTopic }: Connection): string {
  if (dlqTopic === undefined || dlqTopic === '')
    throw wrongUse('no DLQ topic is named: set --dlq-topic or KAFKA_DLQ_TOPIC')
  return dlqTopic
}
