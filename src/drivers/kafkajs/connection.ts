import type { ConnectionOptions } from 'node:tls'
import { Kafka, type KafkaConfig, type SASLOptions } from 'kafkajs'
import type { Logger } from 'pino'
import type { DriverContext } from '../../driver.js'
import type { SaslOptions } from '../../sasl.js'
import { FramedSockets } from './framed-socket.js'
import { kafkajsLevel, logBridge } from './log-bridge.js'
import { messageOf } from './protocol-error.js'
import { retry } from './retry-settings.js'

/** Decompression by the codec's name. */
export type Codecs = { readonly [name in 'gzip' | 'snappy' | 'lz4' | 'zstd']?: (compressed: Buffer) => Buffer }

export interface KafkajsOptions {
  readonly brokers: readonly string[]
  readonly ssl?: boolean | ConnectionOptions
  readonly sasl?: SaslOptions
  readonly codecs?: Codecs
  /** `'lazy'` (default) cuts records out of the fetched bytes when they are read; `'kafkajs'` decodes all at once. */
  readonly decoder?: 'lazy' | 'kafkajs'
}

export interface Brokers {
  readonly kafka: Kafka
  /** Destroys what is left of connections. */
  destroy(): void
}

export function openBrokers({ brokers, ssl, sasl }: KafkajsOptions, { clientId, logger }: DriverContext): Brokers {
  const sockets = new FramedSockets()
  const kafka = new Kafka({
    brokers: [...brokers],
    clientId,
    ssl: (ssl ?? false) as KafkaConfig['ssl'],
    sasl: sasl && login(sasl, logger),
    retry,
    connectionTimeout: 5_000,
    requestTimeout: 15_000,
    socketFactory: sockets.factory,
    logLevel: kafkajsLevel(logger),
    logCreator: logBridge(logger),
  })
  return { kafka, destroy: () => sockets.destroyAll() }
}

function login(sasl: SaslOptions, logger: Logger): SASLOptions {
  if (sasl.mechanism !== 'oauthbearer') return sasl as SASLOptions
  return {
    ...sasl,
    // Whoever gives tokens out comes back, as brokers do.
    oauthBearerProvider: async () => {
      try {
        return await sasl.oauthBearerProvider()
      } catch (cause) {
        logger.warn({ err: cause }, 'there is no token to log in with; it is asked for again')
        const failure = new Error(`there is no token to log in with: ${messageOf(cause)}`, { cause })
        throw Object.assign(failure, { name: 'KafkaJSConnectionError', retriable: true })
      }
    },
  }
}
