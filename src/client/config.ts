import { types } from 'node:util'
import type { Logger } from 'pino'
import { defaultBroker } from '../default-broker.js'
import type { ConsumeRequest, GroupProtocol, StartFrom } from '../driver.js'
import { ConfigurationError } from '../errors.js'
import {
  checkDuration,
  checkFunction,
  checkOptions,
  invalid,
  invalidSecret,
  type KnownOptions,
  longestDuration,
} from '../options.js'
import { isTopicName } from '../retry/headers.js'
import { isInCalendar } from '../rfc3339.js'
import type { SaslOptions } from '../sasl.js'
import { checkBrokers } from './brokers.js'
import { checkSignal } from './call-options.js'
import type { ClientOptions, Codecs, Environment, LeakAction, PositionsOption, SslOptions } from './client.js'
import { configureLogger } from './logger.js'
import { checkSsl } from './ssl.js'

/** The checked options of a client, with the environment's values and the defaults filled in. */
export interface Config {
  readonly brokers: readonly string[]
  readonly startFrom: StartFrom
  readonly suffix: string
  readonly clientId: string
  /** The full name, suffix included. */
  readonly group: string | undefined
  /** The full name, suffix included. */
  readonly retryTopic: string | undefined
  /** The full name, suffix included. */
  readonly dlqTopic: string | undefined
  readonly logger: Logger
  readonly commitInterval: number
  readonly rebalanceTimeout: number
  readonly sessionTimeout: number
  readonly heartbeatInterval: number
  /** Undefined: the driver chooses. */
  readonly groupProtocol: GroupProtocol | undefined
  readonly instanceId: string | undefined
  readonly rack: string | undefined
  readonly metadataMaxAge: number
  readonly positions: PositionsOption | undefined
  readonly stallAfter: number
  readonly leaks: LeakAction
  readonly codecs: Codecs
}

/** Kept apart from `Config`, because a program may print objects that refer to that. */
export interface Credentials {
  readonly ssl: SslOptions
  readonly sasl: SaslOptions | undefined
}

const known: KnownOptions<ClientOptions> = {
  env: true,
  brokers: true,
  ssl: true,
  sasl: true,
  startFrom: true,
  suffix: true,
  clientId: true,
  group: true,
  retryTopic: true,
  dlqTopic: true,
  signal: true,
  logger: true,
  driver: true,
  commitInterval: true,
  rebalanceTimeout: true,
  sessionTimeout: true,
  heartbeatInterval: true,
  groupProtocol: true,
  instanceId: true,
  rack: true,
  metadataMaxAge: true,
  positions: true,
  stallAfter: true,
  leaks: true,
  codecs: true,
}

/** The mechanisms that need only a username and a password. */
const mechanisms = ['plain', 'scram-sha-256', 'scram-sha-512'] as const

/** @throws ConfigurationError naming the option or key, with its value unless that is a secret. */
export function configure(options: ClientOptions): Config & Credentials {
  checkOptions('createClient', options, known)
  const env = reader(options.env)
  const { suffix = env('KAFKA_GLOBAL_SUFFIX') ?? '' } = options
  if (typeof suffix !== 'string') throw invalid('suffix', suffix, 'must be a string')
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
      `heartbeatInterval (${heartbeatInterval}) must be less than sessionTimeout (${sessionTimeout}); a third of it or less is recommended`,
    )
  }
  if (options.signal !== undefined) checkSignal('signal', options.signal)
  if (options.driver !== undefined && typeof options.driver?.consume !== 'function') {
    throw invalid('driver', options.driver, 'must be a driver, such as memoryBroker().driver()')
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
    logger: configureLogger(options.logger),
    commitInterval: duration('commitInterval', options.commitInterval, 100),
    rebalanceTimeout: duration('rebalanceTimeout', options.rebalanceTimeout, 10_000),
    sessionTimeout,
    heartbeatInterval,
    groupProtocol: groupProtocol(options.groupProtocol),
    instanceId: instanceId(options.instanceId, group),
    rack: name('rack', options.rack, ''),
    metadataMaxAge: duration('metadataMaxAge', options.metadataMaxAge, 30_000, 100),
    positions: positions(options.positions),
    stallAfter: duration('stallAfter', options.stallAfter, 60_000),
    leaks: leakAction(options.leaks),
    codecs: codecs(options.codecs),
  }
}

/** How much longer than `rebalanceTimeout` a rebalance may take, for the last commits, ms. */
const timeForLastCommits = 2_000

/** @param topics Full names. */
export function consumeRequest(
  config: Config,
  topics: readonly string[],
  cameLater: (topic: string) => boolean,
): ConsumeRequest {
  const { group, startFrom, rebalanceTimeout, sessionTimeout, heartbeatInterval } = config
  const { groupProtocol, instanceId, rack, metadataMaxAge } = config
  const holdFor = Math.min(rebalanceTimeout + timeForLastCommits, longestDuration)
  return {
    ...{ group, topics, cameLater, startFrom, rebalanceTimeout: holdFor },
    ...{ sessionTimeout, heartbeatInterval, instanceId, rack, metadataMaxAge },
    ...(groupProtocol !== undefined && { groupProtocol }),
  }
}

function reader(env: Environment = process.env): (name: string) => string | undefined {
  if (typeof env !== 'function' && (typeof env !== 'object' || env === null)) {
    throw invalid('env', env, 'must be an object or a function')
  }
  return key => {
    const value = typeof env === 'function' ? env(key) : env[key]
    if (value !== undefined && typeof value !== 'string') throw invalid(key, value, 'must be a string')
    return value === undefined || value.trim() === '' ? undefined : value.trim()
  }
}

function leakAction(value: LeakAction = 'report'): LeakAction {
  if (value === 'report' || value === 'fail' || value === 'redeliver') return value
  throw invalid('leaks', value, "must be 'report', 'fail' or 'redeliver'")
}

function groupProtocol(value: GroupProtocol | undefined): GroupProtocol | undefined {
  if (value === undefined || value === 'classic' || value === 'consumer' || value === 'auto') return value
  throw invalid('groupProtocol', value, "must be 'classic', 'consumer' or 'auto'")
}

function positions(option: PositionsOption | undefined): PositionsOption | undefined {
  if (option !== undefined) checkFunction('positions', option, 'a function from partitions to their positions')
  return option
}

function instanceId(value: string | undefined, group: string | undefined): string | undefined {
  const id = name('instanceId', value, '')
  if (id !== undefined && group === undefined) {
    throw new ConfigurationError(`instanceId '${id}' needs a group; set the option group`)
  }
  return id
}

function name(option: string, value: string | undefined, suffix: string): string | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value.trim() === '') throw invalid(option, value, 'must be a non-empty string')
  return value + suffix
}

const topicNameRule = "must be a Kafka topic name: at most 249 of A-Z, a-z, 0-9, '.', '_' and '-', and not '.' or '..'"

/** The full name of a topic, checked. */
export function topicName(option: string, value: string | undefined, suffix: string): string | undefined {
  const full = name(option, value, suffix)
  if (full === undefined || isTopicName(full)) return full
  throw invalid(suffix === '' ? option : `${option} with the suffix '${suffix}'`, full, topicNameRule)
}

function duration(option: string, value: number | undefined, otherwise: number, min = 0): number {
  if (value === undefined) return otherwise
  checkDuration(option, value, min)
  return value
}

function brokers(option: readonly string[] | undefined, key: string | undefined): readonly string[] {
  if (option !== undefined) return checkBrokers('brokers', option)
  if (key === undefined) return [defaultBroker]
  return checkBrokers(
    'KAFKA_BROKERS',
    key.split(',').map(broker => broker.trim()),
  )
}

function ssl(option: SslOptions | undefined, key: string | undefined): SslOptions {
  if (option !== undefined) {
    checkSsl(option)
    return option
  }
  if (key === undefined) return false
  if (/^(true|1)$/i.test(key)) return true
  if (/^(false|0)$/i.test(key)) return false
  throw invalid('KAFKA_TLS_ENABLED', key, 'must be true or false')
}

type Sasl<Mechanism> = Extract<SaslOptions, { readonly mechanism: Mechanism }>
const knownOfPassword: KnownOptions<Sasl<'plain' | 'scram-sha-256' | 'scram-sha-512'>> = {
  mechanism: true,
  username: true,
  password: true,
}
const knownOfToken: KnownOptions<Sasl<'oauthbearer'>> = { mechanism: true, oauthBearerProvider: true }
const knownOfAws: KnownOptions<Sasl<'aws'>> = {
  mechanism: true,
  authorizationIdentity: true,
  accessKeyId: true,
  secretAccessKey: true,
  sessionToken: true,
}
const knownOfSasl: KnownOptions<SaslOptions> = { ...knownOfPassword, ...knownOfToken, ...knownOfAws }

function sasl(given: SaslOptions | undefined, env: (name: string) => string | undefined): SaslOptions | undefined {
  if (given !== undefined) {
    if (typeof given !== 'object' || given === null) {
      throw invalidSecret('sasl', given, 'must be { mechanism, username, password }')
    }
    checkOptions('sasl', given, knownOfSasl)
    const option = inLowerCase(given)
    if (option.mechanism === 'oauthbearer') {
      checkOptions('sasl with mechanism oauthbearer', option, knownOfToken)
      if (typeof option.oauthBearerProvider === 'function') return option
      const rule = 'must be a function that resolves to { value }, the token'
      throw invalidSecret('sasl.oauthBearerProvider', option.oauthBearerProvider, rule)
    }
    if (option.mechanism === 'aws') {
      checkOptions('sasl with mechanism aws', option, knownOfAws)
      for (const part of ['authorizationIdentity', 'accessKeyId', 'secretAccessKey'] as const) {
        if (typeof option[part] === 'string' && option[part] !== '') continue
        throw new ConfigurationError(`sasl.${part} is not set; SASL with sasl.mechanism aws needs it`)
      }
      return option
    }
    checkOptions('sasl with a password', option, knownOfPassword)
    return checkedSasl(given.mechanism, option.username, option.password, {
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

/** The mechanism may be in upper or lower case, as in kafkajs. */
function inLowerCase(option: SaslOptions): SaslOptions {
  const mechanism: unknown = option.mechanism
  if (typeof mechanism !== 'string' || mechanism === mechanism.toLowerCase()) return option
  return { ...option, mechanism: mechanism.toLowerCase() } as SaslOptions
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
    throw invalid(names.mechanism, mechanism, `must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512${others}`)
  }
  if (typeof username !== 'string' || username === '')
    throw invalid(names.username, username, 'must be a non-empty string')
  if (password !== undefined && typeof password !== 'string') {
    throw invalidSecret(names.password, password, 'must be a non-empty string')
  }
  if (password === undefined || password === '') {
    throw new ConfigurationError(`${names.password} is not set; SASL with ${names.mechanism} ${known} needs it`)
  }
  return { mechanism: known, username, password }
}

const rfc3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/

function startFrom(option: StartFrom | undefined, key: string | undefined): StartFrom {
  if (option !== undefined) {
    const isValid = types.isDate(option)
      ? !Number.isNaN(option.getTime())
      : ['earliest', 'latest', 'committed'].includes(option)
    if (!isValid) throw invalid('startFrom', option, "must be 'earliest', 'latest', 'committed' or a valid Date")
    return option
  }
  if (key === undefined) return 'earliest'
  if (key === 'earliest' || key === 'latest' || key === 'committed') return key
  const date = new Date(key)
  if (!rfc3339.test(key) || Number.isNaN(date.getTime()) || !isInCalendar(key)) {
    const rule = "must be 'earliest', 'latest', 'committed' or a time as in RFC 3339, such as 2026-01-31T00:00:00Z"
    throw invalid('KAFKA_CONSUMER_START_FROM', key, rule)
  }
  return date
}

const knownCodecs: KnownOptions<Codecs> = { gzip: true, snappy: true, lz4: true, zstd: true }

function codecs(option: Codecs = {}): Codecs {
  if (typeof option !== 'object') throw invalid('codecs', option, 'must be an object of functions')
  checkOptions('codecs', option, knownCodecs)
  for (const [name, decompress] of Object.entries(option)) {
    if (decompress !== undefined) checkFunction(`codecs.${name}`, decompress)
  }
  return option
}
