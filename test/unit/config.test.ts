import { Writable } from 'node:stream'
import * as fc from 'fast-check'
import { pino } from 'pino'
import { type ClientOptions, ConfigurationError, createClient, fixed, type TopicOptions } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { configure } from '../../src/client/config.js'

const nothing = { env: {}, logger: false } as const
const password = 'correct horse battery staple'

/** The message of the thrown error. */
function refusal(make: () => unknown): string {
  try {
    make()
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError)
    expect((error as ConfigurationError).code).toBe('RXMIKA_CONFIGURATION')
    return (error as Error).message
  }
  throw new Error('nothing was thrown')
}

describe('an invalid option is a ConfigurationError that names option and value', () => {
  const cases: [options: Record<string, unknown>, ...said: string[]][] = [
    [{ env: 7 }, 'env', '7'],
    [{ env: null }, 'env', 'null'],
    [{ brokers: [] }, 'brokers'],
    [{ brokers: 'localhost:9092' }, 'brokers', "'localhost:9092'"],
    [{ brokers: ['localhost'] }, 'brokers', "'localhost'"],
    [{ brokers: ['localhost:0'] }, 'brokers', "'localhost:0'"],
    [{ brokers: ['localhost:65536'] }, 'brokers', "'localhost:65536'"],
    [{ brokers: ['localhost:9092', 'http://localhost:9092'] }, 'brokers', "'http://localhost:9092'"],
    [{ brokers: [9092] }, 'brokers', '9092'],
    [{ ssl: 'yes' }, 'ssl', "'yes'"],
    [{ ssl: null }, 'ssl', 'null'],
    [{ sasl: { mechanism: 'gssapi', username: 'me', password } }, 'sasl.mechanism', "'gssapi'"],
    [{ sasl: { username: 'me', password } }, 'sasl.mechanism', 'sasl.username'],
    [{ sasl: { mechanism: 'plain', username: '', password } }, 'sasl.username', "''"],
    [{ sasl: { mechanism: 'plain', username: 7, password } }, 'sasl.username', '7'],
    [{ sasl: { mechanism: 'plain', username: 'me' } }, 'sasl.password', 'is not set'],
    [{ sasl: { mechanism: 'plain', username: 'me', password: 12_345 } }, 'sasl.password', 'got a number'],
    [{ sasl: password }, 'sasl', 'string'],
    [{ sasl: { mechanism: 'oauthbearer' } }, 'sasl.oauthBearerProvider', 'undefined'],
    [{ sasl: { mechanism: 'oauthbearer', oauthBearerProvider: password } }, 'sasl.oauthBearerProvider', 'string'],
    [
      { sasl: { mechanism: 'aws', authorizationIdentity: 'me', secretAccessKey: password } },
      'sasl.accessKeyId',
      'is not set',
    ],
    [
      { sasl: { mechanism: 'aws', authorizationIdentity: 'me', accessKeyId: 'key', secretAccessKey: '' } },
      'sasl.secretAccessKey',
      'is not set',
    ],
    [{ startFrom: 'beginning' }, 'startFrom', "'beginning'"],
    [{ startFrom: new Date('nonsense') }, 'startFrom', 'Invalid Date'],
    [{ startFrom: 7 }, 'startFrom', '7'],
    [{ suffix: 7 }, 'suffix', '7'],
    [{ suffix: ' !', group: 'g', retryTopic: 'retries' }, 'retryTopic', "'retries !'"],
    [{ clientId: '' }, 'clientId', "''"],
    [{ group: '' }, 'group', "''"],
    [{ group: '  ' }, 'group', "'  '"],
    [{ group: 7 }, 'group', '7'],
    [{ group: 'g', retryTopic: '' }, 'retryTopic', "''"],
    [{ group: 'g', retryTopic: 'a b' }, 'retryTopic', "'a b'"],
    [{ group: 'g', dlqTopic: 'ä' }, 'dlqTopic', "'ä'"],
    [{ group: 'g', dlqTopic: '..' }, 'dlqTopic', "'..'"],
    [{ group: 'g', dlqTopic: 'x'.repeat(250) }, 'dlqTopic', 'x'.repeat(250)],
    [{ retryTopic: 'retries' }, 'retryTopic', "'retries'", 'group'],
    [{ dlqTopic: 'dead' }, 'dlqTopic', "'dead'", 'group'],
    [{ group: 'g', retryTopic: 'same', dlqTopic: 'same' }, 'retryTopic', 'dlqTopic', "'same'"],
    [{ signal: 'stop' }, 'signal', "'stop'"],
    [{ logger: true }, 'logger', 'true'],
    [{ logger: {} }, 'logger', 'object'],
    [{ driver: 'kafkajs' }, 'driver', "'kafkajs'"],
    [{ driver: {} }, 'driver', 'object'],
    [{ commitInterval: -1 }, 'commitInterval', '-1'],
    [{ commitInterval: Number.NaN }, 'commitInterval', 'NaN'],
    [{ commitInterval: Number.POSITIVE_INFINITY }, 'commitInterval', 'Infinity'],
    [{ commitInterval: '100' }, 'commitInterval', "'100'"],
    [{ rebalanceTimeout: -5 }, 'rebalanceTimeout', '-5'],
    [{ rebalanceTimeout: 2 ** 31 }, 'rebalanceTimeout', '2147483648'],
    [{ sessionTimeout: 0 }, 'sessionTimeout', '0'],
    [{ heartbeatInterval: Number.NaN }, 'heartbeatInterval', 'NaN'],
    [{ sessionTimeout: 3_000, heartbeatInterval: 3_000 }, 'heartbeatInterval', 'sessionTimeout', '3000'],
    [{ stallAfter: -1 }, 'stallAfter', '-1'],
    [{ leaks: 'retry' as never }, 'leaks', 'retry'],
    [{ leaks: true as never }, 'leaks', 'true'],
    [{ codecs: { lz4: 'fast' } }, 'codecs.lz4', "'fast'"],
    [{ codecs: { brotli: (bytes: Buffer) => bytes } }, 'codecs', "'brotli'"],
    [{ codecs: 'lz4' }, 'codecs', "'lz4'"],
  ]
  for (const [options, ...said] of cases) {
    it(`${inspect(options)}`, () => {
      const message = refusal(() => createClient({ ...nothing, ...options } as ClientOptions))
      for (const part of said) expect(message).toContain(part)
      expect(message).not.toContain(password)
    })
  }
})

describe('an invalid environment key is a ConfigurationError that names key and value', () => {
  const cases: [env: Record<string, string>, ...said: string[]][] = [
    [{ KAFKA_BROKERS: 'localhost' }, 'KAFKA_BROKERS', "'localhost'"],
    [{ KAFKA_BROKERS: 'localhost:9092,,' }, 'KAFKA_BROKERS', "''"],
    [{ KAFKA_TLS_ENABLED: 'maybe' }, 'KAFKA_TLS_ENABLED', "'maybe'"],
    [
      { KAFKA_SASL_MECHANISM: 'NTLM', KAFKA_SASL_USERNAME: 'me', KAFKA_SASL_PASSWORD: password },
      'KAFKA_SASL_MECHANISM',
      "'NTLM'",
    ],
    [{ KAFKA_SASL_USERNAME: 'me', KAFKA_SASL_PASSWORD: password }, 'KAFKA_SASL_USERNAME', 'KAFKA_SASL_MECHANISM'],
    [{ KAFKA_SASL_PASSWORD: password }, 'KAFKA_SASL_PASSWORD', 'KAFKA_SASL_MECHANISM'],
    [{ KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_SASL_PASSWORD: password }, 'KAFKA_SASL_USERNAME', 'undefined'],
    [{ KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_SASL_USERNAME: 'me' }, 'KAFKA_SASL_PASSWORD', 'is not set'],
    [{ KAFKA_CONSUMER_START_FROM: 'yesterday' }, 'KAFKA_CONSUMER_START_FROM', "'yesterday'"],
    [{ KAFKA_CONSUMER_START_FROM: '2026-01-31' }, 'KAFKA_CONSUMER_START_FROM', "'2026-01-31'"],
    [{ KAFKA_CONSUMER_START_FROM: '2026-13-31T00:00:00Z' }, 'KAFKA_CONSUMER_START_FROM', "'2026-13-31T00:00:00Z'"],
    [{ KAFKA_CONSUMER_START_FROM: '2026-02-30T00:00:00Z' }, 'KAFKA_CONSUMER_START_FROM', "'2026-02-30T00:00:00Z'"],
    [{ KAFKA_CONSUMER_START_FROM: '2026-01-31T24:00:00Z' }, 'KAFKA_CONSUMER_START_FROM', "'2026-01-31T24:00:00Z'"],
  ]
  for (const [env, ...said] of cases) {
    it(`${inspect(env)}`, () => {
      for (const source of [env, (name: string) => env[name]]) {
        const message = refusal(() => createClient({ logger: false, env: source }))
        for (const part of said) expect(message).toContain(part)
        expect(message).not.toContain(password)
      }
    })
  }

  it('names the topic that is invalid because of a suffix from the environment', () => {
    const message = refusal(() =>
      createClient({ logger: false, env: { KAFKA_GLOBAL_SUFFIX: '/x' }, group: 'g', dlqTopic: 'dead' }),
    )
    expect(message).toContain('dlqTopic')
    expect(message).toContain("'dead/x'")
  })
})

describe('an invalid topic is a ConfigurationError that names topic and value', () => {
  const full = { ...nothing, group: 'g', retryTopic: 'retries', dlqTopic: 'dead' }
  const cases: [client: ClientOptions, name: unknown, options: Record<string, unknown>, ...said: string[]][] = [
    [full, '', {}, 'topic', "''"],
    [full, undefined, {}, 'topic', 'undefined'],
    [full, 7, {}, 'topic', '7'],
    [full, 'a/b', {}, 'topic', "'a/b'"],
    [full, 'retries', {}, "'retries'", 'retryTopic'],
    [full, 'dead', {}, "'dead'", 'dlqTopic'],
    [full, 'orders', { retries: -1 }, "'orders'", 'retries', '-1'],
    [full, 'orders', { retries: 1.5 }, "'orders'", 'retries', '1.5'],
    [full, 'orders', { retries: Number.NaN }, "'orders'", 'retries', 'NaN'],
    [full, 'orders', { retries: '2' }, "'orders'", 'retries', "'2'"],
    [full, 'orders', { dlq: 'yes' }, "'orders'", 'dlq', "'yes'"],
    [full, 'orders', { batch: 'yes' }, "'orders'", 'batch', "'yes'"],
    [full, 'orders', { backoff: 5, retries: 1 }, 'backoff', '5'],
    [full, 'orders', { backoff: fixed(5) }, "'orders'", 'backoff', 'retries'],
    [full, 'orders', { maxInFlight: 0 }, "'orders'", 'maxInFlight', '0'],
    [full, 'orders', { keyFence: {} }, "'orders'", 'keyFence', 'afterDeadLetter'],
    [full, 'orders', { keyFence: null }, "'orders'", 'keyFence', 'afterDeadLetter'],
    [full, 'orders', { keyFence: { afterDeadLetter: 'stop' } }, "'orders'", 'keyFence', "'continue'"],
    [full, 'orders', { keyFence: { afterDeadLetter: 'dead-letter', maxKeys: 0 } }, "'orders'", 'maxKeys', '0'],
    [full, 'orders', { maxInFlight: Number.POSITIVE_INFINITY }, "'orders'", 'maxInFlight', 'Infinity'],
    [full, 'orders', { onFail: 'drop' }, "'orders'", 'onFail', "'drop'"],
    [full, 'orders', { onFail: (source: unknown) => source, dlq: true }, "'orders'", 'onFail', 'dlq'],
    [full, 'orders', { decode: 'json' }, "'orders'", 'decode', "'json'"],
    [nothing, 'orders', { retries: 2 }, "'orders'", 'retries: 2', 'retryTopic'],
    [nothing, 'orders', { dlq: true }, "'orders'", 'dlq: true', 'dlqTopic'],
  ]
  for (const [client, name, options, ...said] of cases) {
    it(`${inspect({ name, ...options })}`, () => {
      const message = refusal(() => createClient(client).topic(name as string, options as TopicOptions))
      for (const part of said) expect(message).toContain(part)
    })
  }

  it('a refused topic can be registered correctly afterwards', () => {
    const client = createClient(nothing)
    refusal(() => client.topic('orders', { dlq: true }))
    expect(() => client.topic('orders')).not.toThrow()
  })
})

describe('an invalid argument is a ConfigurationError that names argument and value', () => {
  const client = () => createClient({ ...nothing, driver: memoryBroker().driver(), group: 'g', dlqTopic: 'dead' })
  const cases: [name: string, call: () => unknown, ...said: string[]][] = [
    ['publish without a topic', () => client().publish({ topic: '', value: 'v' }), 'topic', "''"],
    ['publish of a number', () => client().publish({ topic: 't', value: 7 as never }), 'value', '7'],
    ['publish with a number as key', () => client().publish({ topic: 't', value: 'v', key: 7 as never }), 'key', '7'],
    [
      'publish to a partition below 0',
      () => client().publish({ topic: 't', value: 'v', partition: -1 }),
      'partition',
      '-1',
    ],
    [
      'publish with a date as time',
      () => client().publish({ topic: 't', value: 'v', timestamp: 1.5 }),
      'timestamp',
      '1.5',
    ],
    [
      'publish with a number as a header',
      () => client().publish({ topic: 't', value: 'v', headers: { h: 7 as never } }),
      "'h'",
      '7',
    ],
    ['publish within NaN ms', () => client().publish({ topic: 't', value: 'v' }, { timeout: Number.NaN }), 'NaN'],
    ['a replay until tomorrow', () => client().replayDlq({ until: 'tomorrow' as never }), 'until', "'tomorrow'"],
    ['closing within -1 ms', () => client().closeGracefully({ timeout: -1 }), 'timeout', '-1'],
  ]
  for (const [name, call, ...said] of cases) {
    it(name, () => {
      const message = refusal(call)
      for (const part of said) expect(message).toContain(part)
    })
  }
})

describe('the configuration of a client', () => {
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  it('comes from the environment if an option is absent', () => {
    const env = {
      KAFKA_BROKERS: 'one:9092, two:9093',
      KAFKA_TLS_ENABLED: 'true',
      KAFKA_SASL_MECHANISM: 'SCRAM-SHA-512',
      KAFKA_SASL_USERNAME: 'me',
      KAFKA_SASL_PASSWORD: password,
      KAFKA_CONSUMER_START_FROM: '2026-01-31T12:00:00+01:00',
      KAFKA_GLOBAL_SUFFIX: '-test',
    }
    for (const source of [env, (name: string) => env[name as keyof typeof env]]) {
      expect(configure({ env: source, group: 'g', retryTopic: 'r', dlqTopic: 'd' })).toMatchObject({
        brokers: ['one:9092', 'two:9093'],
        ssl: true,
        sasl: { mechanism: 'scram-sha-512', username: 'me', password },
        startFrom: new Date('2026-01-31T11:00:00Z'),
        suffix: '-test',
        group: 'g-test',
        retryTopic: 'r-test',
        dlqTopic: 'd-test',
      })
    }
  })

  it('accepts exactly the days of the calendar as a start (generated)', () => {
    const two = (number: number) => String(number).padStart(2, '0')
    const parts = fc.record({
      year: fc.integer({ min: 1970, max: 2405 }),
      month: fc.integer({ min: 1, max: 12 }),
      day: fc.integer({ min: 1, max: 31 }),
      hour: fc.integer({ min: 0, max: 24 }),
    })
    fc.assert(
      fc.property(parts, ({ year, month, day, hour }) => {
        const time = new Date(Date.UTC(year, month - 1, day, hour))
        const exists = time.getUTCDate() === day && time.getUTCHours() === hour
        const env = { KAFKA_CONSUMER_START_FROM: `${year}-${two(month)}-${two(day)}T${two(hour)}:00:00Z` }
        if (exists) expect(configure({ env }).startFrom).toEqual(time)
        else expect(() => configure({ env })).toThrow(ConfigurationError)
      }),
      { examples: [[{ year: 2000, month: 2, day: 29, hour: 0 }], [{ year: 2100, month: 2, day: 29, hour: 0 }]] },
    )
  })

  it('accepts a mechanism in upper and lower case, as kafkajs does', () => {
    const token = { mechanism: 'OAUTHBEARER' as never, oauthBearerProvider: async () => ({ value: 'token' }) }
    expect(configure({ ...nothing, sasl: token }).sasl).toEqual({ ...token, mechanism: 'oauthbearer' })
    const sasl = { mechanism: 'SCRAM-SHA-256' as never, username: 'me', password }
    expect(configure({ ...nothing, sasl }).sasl).toEqual({ ...sasl, mechanism: 'scram-sha-256' })
  })

  it('comes from process.env by default', () => {
    vi.stubEnv('KAFKA_BROKERS', 'from-the-process:9092')
    expect(configure({}).brokers).toEqual(['from-the-process:9092'])
    expect(configure({ env: {} }).brokers).toEqual(['localhost:29092'])
  })

  it('prefers an option to its environment key, which is then not checked', () => {
    const env = {
      KAFKA_BROKERS: 'nonsense',
      KAFKA_TLS_ENABLED: 'nonsense',
      KAFKA_SASL_MECHANISM: 'nonsense',
      KAFKA_CONSUMER_START_FROM: 'nonsense',
      KAFKA_GLOBAL_SUFFIX: '-env',
    }
    const sasl = { mechanism: 'plain', username: 'me', password } as const
    const options = { brokers: ['b:1'], ssl: false, sasl, startFrom: 'latest', suffix: '' } as const
    expect(configure({ env, ...options, group: 'g' })).toMatchObject({ ...options, group: 'g' })
  })

  it('treats an empty key as absent', () => {
    const env = { KAFKA_BROKERS: '', KAFKA_SASL_USERNAME: ' ', KAFKA_CONSUMER_START_FROM: '' }
    expect(configure({ env })).toMatchObject({ brokers: ['localhost:29092'], sasl: undefined, startFrom: 'earliest' })
  })

  it('has the documented defaults', () => {
    expect(configure({ env: {} })).toMatchObject({
      ...{ brokers: ['localhost:29092'], ssl: false, sasl: undefined, startFrom: 'earliest', suffix: '' },
      ...{ group: undefined, retryTopic: undefined, dlqTopic: undefined, leaks: 'report' },
      ...{ rebalanceTimeout: 10_000, sessionTimeout: 30_000, heartbeatInterval: 3_000, stallAfter: 60_000 },
    })
  })

  it('accepts valid options', () => {
    const valid: ClientOptions[] = [
      { brokers: ['127.0.0.1:1', '[::1]:65535', 'kafka.example:9092'] },
      { ssl: { ca: 'pem', rejectUnauthorized: false } },
      { env: { KAFKA_TLS_ENABLED: '0' } },
      { env: { KAFKA_CONSUMER_START_FROM: '2026-01-31T00:00:00.123456Z' } },
      { group: 'any text, ü too', retryTopic: 'a.b_c-D', dlqTopic: 'x'.repeat(249) },
      { commitInterval: 0, rebalanceTimeout: 0, stallAfter: 0 },
      { codecs: { lz4: bytes => bytes } },
    ]
    for (const options of valid) expect(() => configure({ env: {}, ...options })).not.toThrow()
  })
})

it('never prints a password, whatever else is wrong', () => {
  const lines: string[] = []
  const sink = new Writable({
    write(chunk, _, done) {
      lines.push(String(chunk))
      done()
    },
  })
  const env = {
    KAFKA_BROKERS: `me:${password}@localhost:9092`,
    KAFKA_SASL_MECHANISM: 'PLAIN',
    KAFKA_SASL_USERNAME: 'me',
    KAFKA_SASL_PASSWORD: password,
  }
  const logger = pino({ level: 'trace' }, sink)
  expect(refusal(() => createClient({ env, logger }))).not.toContain(password)
  expect(refusal(() => createClient({ env: {}, sasl: password as never, logger }))).not.toContain(password)
  expect(lines.join('')).not.toContain(password)
})

function inspect(value: object): string {
  return JSON.stringify(value, (_, part) => {
    if (typeof part === 'function') return 'a function'
    if (typeof part === 'number' && !Number.isFinite(part)) return String(part)
    return typeof part === 'string' && part.length > 60 ? `${part.slice(0, 20)}…` : part
  })
}
