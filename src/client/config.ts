import { type Logger, pino } from 'pino'
import type { StartFrom } from '../driver.js'
import { ConfigurationError } from '../errors.js'
import { isTopicName } from '../retry/headers.js'
import type { SaslOptions } from '../sasl.js'
import type { ClientOptions, Codecs, Environment, SslOptions } from './client.js'

/** A client's options, checked, with the environment's values and the defaults filled in. */
export interface Config {
  readonly brokers: readonly string[]
  readonly ssl: SslOptions
  readonly sasl: SaslOptions | undefined
  readonly startFrom: StartFrom
  readonly suffix: string
  readonly clientId: string
  /** Full names from here on. */
  readonly group: string | undefined
  readonly retryTopic: string | undefined
  readonly dlqTopic: string | undefined
  readonly logger: Logger
  readonly commitInterval: number
  readonly rebalanceTimeout: number
  readonly sessionTimeout: number
  readonly heartbeatInterval: number
  readonly stallAfter: number
  readonly codecs: Codecs
}

/** Those that need no more than a name and a password. */
const mechanisms = ['plain', 'scram-sha-256', 'scram-sha-512'] as const

/** @throws ConfigurationError naming the option or key, and its value unless that is a secret. */
export function configure(options: ClientOptions): Config {
  const env = reader(options.env)
  const suffix = options.suffix ?? env('KAFKA_GLOBAL_SUFFIX') ?? ''
  if (typeof suffix !== 'string') throw invalid('suffix', suffix, 'is a text')
  const group = name('group', options.group, suffix)
  const retryTopic = topicName('retryTopic', options.retryTopic, suffix)
  const dlqTopic = topicName('dlqTopic', options.dlqTopic, suffix)
  for (const [option, topic] of [
    ['retryTopic', retryTopic],
    ['dlqTopic', dlqTopic],
  ] as const) {
    if (topic !== undefined && group === undefined) {
      throw new ConfigurationError(
        `${option} '${topic}' needs a group: copies are marked with it; set the option group`,
      )
    }
  }
  if (retryTopic !== undefined && retryTopic === dlqTopic) {
    throw new ConfigurationError(`retryTopic and dlqTopic are both '${retryTopic}'; they must differ`)
  }
  const sessionTimeout = duration('sessionTimeout', options.sessionTimeout, 30_000, 1)
  const heartbeatInterval = duration('heartbeatInterval', options.heartbeatInterval, 3_000, 1)
  if (heartbeatInterval >= sessionTimeout) {
    throw new ConfigurationError(
      `heartbeatInterval (${heartbeatInterval}) must be less than sessionTimeout (${sessionTimeout}), a third at most`,
    )
  }
  if (options.signal !== undefined && typeof options.signal?.addEventListener !== 'function') {
    throw invalid('signal', options.signal, 'is an AbortSignal')
  }
  if (options.driver !== undefined && typeof options.driver?.consume !== 'function') {
    throw invalid('driver', options.driver, 'is a driver, such as memoryBroker().driver()')
  }
  return {
    brokers: brokers(options.brokers, env('KAFKA_BROKERS')),
    ssl: ssl(options.ssl, env('KAFKA_TLS_ENABLED')),
    sasl: sasl(options.sasl, env),
    startFrom: startFrom(options.startFrom, env('KAFKA_CONSUMER_START_FROM')),
    suffix,
    clientId: name('clientId', options.clientId, '') ?? 'rxmika',
    group,
    retryTopic,
    dlqTopic,
    logger: logger(options.logger),
    commitInterval: duration('commitInterval', options.commitInterval, 100),
    rebalanceTimeout: duration('rebalanceTimeout', options.rebalanceTimeout, 10_000),
    sessionTimeout,
    heartbeatInterval,
    stallAfter: duration('stallAfter', options.stallAfter, 60_000),
    codecs: codecs(options.codecs),
  }
}

export function invalid(option: string, value: unknown, rule: string): ConfigurationError {
  return new ConfigurationError(`${option} ${rule}; it was ${shown(value)}`)
}

function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`
  if (typeof value === 'object' && value !== null) return value instanceof Date ? String(value) : typeof value
  return String(value)
}

function reader(env: Environment = process.env): (name: string) => string | undefined {
  if (typeof env !== 'function' && (typeof env !== 'object' || env === null)) {
    throw invalid('env', env, 'is a record or a function')
  }
  return key => {
    const value = typeof env === 'function' ? env(key) : env[key]
    if (value !== undefined && typeof value !== 'string') throw invalid(key, value, 'is a text')
    return value === undefined || value.trim() === '' ? undefined : value.trim()
  }
}

function name(option: string, value: string | undefined, suffix: string): string | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value.trim() === '') throw invalid(option, value, 'is a text that is not empty')
  return value + suffix
}

/** A topic's full name. */
export function topicName(option: string, value: string | undefined, suffix: string): string | undefined {
  const full = name(option, value, suffix)
  if (full !== undefined && !isTopicName(full)) {
    throw invalid(option, full, 'is a Kafka topic name: letters, digits, dot, underscore and hyphen, 249 at most')
  }
  return full
}

export function duration(option: string, value: number | undefined, otherwise: number, least = 0): number {
  if (value === undefined) return otherwise
  if (typeof value !== 'number' || !(value >= least) || value > 2 ** 31 - 1) {
    throw invalid(option, value, `is a number of ms from ${least} to ${2 ** 31 - 1}`)
  }
  return value
}

export function wholeNumber(option: string, value: number | undefined, otherwise: number, least: number): number {
  if (value === undefined) return otherwise
  if (!Number.isSafeInteger(value) || value < least)
    throw invalid(option, value, `is a whole number of at least ${least}`)
  return value
}

function brokers(option: readonly string[] | undefined, key: string | undefined): readonly string[] {
  const source = option === undefined ? 'KAFKA_BROKERS' : 'brokers'
  const list = option ?? key?.split(',').map(broker => broker.trim()) ?? ['localhost:29092']
  if (!Array.isArray(list) || list.length === 0) throw invalid(source, list, 'is a list of host:port, one at least')
  for (const broker of list) {
    const port = typeof broker === 'string' ? /^[^\s,/@]+:(\d{1,5})$/.exec(broker)?.[1] : undefined
    // The value may hold user:password@host, so it is not shown where it has an @.
    const value = String(broker).includes('@') ? 'a value with an @' : broker
    if (port === undefined || Number(port) === 0 || Number(port) > 65_535)
      throw invalid(source, value, 'is a list of host:port')
  }
  return list
}

function ssl(option: SslOptions | undefined, key: string | undefined): SslOptions {
  if (option !== undefined) {
    if (typeof option !== 'boolean' && (typeof option !== 'object' || option === null)) {
      throw invalid('ssl', option, "is a boolean or node:tls's options")
    }
    return option
  }
  if (key === undefined) return false
  if (/^(true|1)$/i.test(key)) return true
  if (/^(false|0)$/i.test(key)) return false
  throw invalid('KAFKA_TLS_ENABLED', key, 'is true or false')
}

function sasl(option: SaslOptions | undefined, env: (name: string) => string | undefined): SaslOptions | undefined {
  if (option !== undefined) {
    // Perhaps a secret: not shown.
    if (typeof option !== 'object' || option === null) {
      throw new ConfigurationError(`sasl is { mechanism, username, password }; it was a value of type ${typeof option}`)
    }
    const { mechanism } = option
    if (mechanism === 'oauthbearer') {
      if (typeof option.oauthBearerProvider === 'function') return option
      throw new ConfigurationError(
        'sasl.oauthBearerProvider is a function that resolves to { value }, the token; ' +
          `it was a value of type ${typeof option.oauthBearerProvider}`,
      )
    }
    if (mechanism === 'aws') {
      for (const part of ['authorizationIdentity', 'accessKeyId', 'secretAccessKey'] as const) {
        if (typeof option[part] === 'string' && option[part] !== '') continue
        throw new ConfigurationError(`sasl.${part} is not set; SASL with sasl.mechanism aws needs it`)
      }
      return option
    }
    return checkedSasl(mechanism, option.username, option.password, {
      mechanism: 'sasl.mechanism',
      username: 'sasl.username',
      password: 'sasl.password',
    })
  }
  const keys = {
    mechanism: 'KAFKA_SASL_MECHANISM',
    username: 'KAFKA_SASL_USERNAME',
    password: 'KAFKA_SASL_PASSWORD',
  }
  const [mechanism, username, password] = [env(keys.mechanism), env(keys.username), env(keys.password)]
  if (mechanism === undefined && username === undefined && password === undefined) return undefined
  return checkedSasl(mechanism, username, password, keys)
}

function checkedSasl(
  mechanism: unknown,
  username: unknown,
  password: unknown,
  names: { mechanism: string; username: string; password: string },
): SaslOptions {
  if (mechanism === undefined) {
    throw new ConfigurationError(`${names.username} or ${names.password} is set, but no ${names.mechanism}; set it`)
  }
  const known = mechanisms.find(candidate => candidate === String(mechanism).toLowerCase())
  if (known === undefined) {
    const others = names.mechanism === 'sasl.mechanism' ? '; oauthbearer and aws have options of their own' : ''
    throw invalid(names.mechanism, mechanism, `is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512${others}`)
  }
  if (typeof username !== 'string' || username === '')
    throw invalid(names.username, username, 'is a text that is not empty')
  if (typeof password !== 'string' || password === '') {
    throw new ConfigurationError(`${names.password} is not set; SASL with ${names.mechanism} ${known} needs it`)
  }
  return { mechanism: known, username, password }
}

const rfc3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/

function startFrom(option: StartFrom | undefined, key: string | undefined): StartFrom {
  if (option !== undefined) {
    const isValid =
      option instanceof Date ? !Number.isNaN(option.getTime()) : ['earliest', 'latest', 'committed'].includes(option)
    if (!isValid) throw invalid('startFrom', option, "is 'earliest', 'latest', 'committed' or a valid Date")
    return option
  }
  if (key === undefined) return 'earliest'
  if (key === 'earliest' || key === 'latest' || key === 'committed') return key
  const date = new Date(key)
  if (!rfc3339.test(key) || Number.isNaN(date.getTime())) {
    throw invalid('KAFKA_CONSUMER_START_FROM', key, 'is a time as in RFC 3339, such as 2026-01-31T00:00:00Z')
  }
  return date
}

const codecNames = ['gzip', 'snappy', 'lz4', 'zstd'] as const

function codecs(option: Codecs = {}): Codecs {
  if (typeof option !== 'object' || option === null) throw invalid('codecs', option, 'is a record of functions')
  for (const [name, decompress] of Object.entries(option)) {
    if (!codecNames.some(known => known === name)) throw invalid('codecs', name, `has ${codecNames.join(', ')}`)
    if (decompress !== undefined && typeof decompress !== 'function') {
      throw invalid(`codecs.${name}`, decompress, 'is a function from compressed bytes to what they were')
    }
  }
  return option
}

function logger(option: Logger | false | undefined): Logger {
  if (option === undefined) return pino({ name: 'rxmika', level: 'info' })
  if (option === false) return pino({ level: 'silent' })
  if (typeof option?.child !== 'function') throw invalid('logger', option, 'is a pino logger, or false')
  return option
}
