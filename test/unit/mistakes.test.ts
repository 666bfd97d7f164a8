import { of, tap } from 'rxjs'
import {
  breaker,
  type Client,
  ConfigurationError,
  type ConsumeRecord,
  commitOffsets,
  completionBarrier,
  createClient,
  type Decoder,
  deadLetter,
  deadLetterOf,
  decode,
  exponential,
  fixed,
  fork,
  halt,
  handle,
  json,
  latest,
  redeliver,
  retryTopic,
  steps,
} from 'rxmika'
import { instrument } from 'rxmika/opentelemetry'
import { memoryBroker, recordMarbles, runMarbles, simulate } from 'rxmika/testing'
import { afterAll, describe, expect, it } from 'vitest'
import { configure } from '../../src/client/config.js'
import { fakeRecord } from '../marbles/fake-record.js'

// Mistakes are reported where they are made: by an exception of the call, and not by a later failure.

const clients: Client[] = []

function client(): Client {
  const topics = { group: 'g', retryTopic: 'retries', dlqTopic: 'dead' }
  const made = createClient({ env: {}, logger: false, driver: memoryBroker().driver(), ...topics })
  clients.push(made)
  return made
}

afterAll(() => Promise.all(clients.map(one => one.close())))

function branchRecord(): ConsumeRecord {
  const seen: ConsumeRecord[] = []
  of(fakeRecord())
    .pipe(fork(tap(record => void seen.push(record))))
    .subscribe()
  return seen[0]!
}

function refusal(make: () => unknown): string {
  try {
    make()
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError)
    return (error as Error).message
  }
  throw new Error('nothing was thrown')
}

/** Values that are invalid for every option of the kind. */
const numbers = [Number.NaN, -1, '5', null, {}, [], true, () => 1]
const wrongFor = {
  integer: [...numbers, 1.5, 2 ** 53],
  /** From 1, or Infinity. */
  limit: [...numbers, 0, 1.5, -Infinity],
  ms: [...numbers, Infinity, 2 ** 31],
  number: [...numbers, Infinity],
  jitter: [Number.NaN, -1, 1.1, '5', null, {}, []],
  boolean: ['yes', 'true', 0, 1, null, {}],
  function: ['text', 7, null, {}, true],
  decoder: ['json', 7, null, {}, json],
  name: ['', ' ', 7, null, {}, [], true],
  text: [7, null, {}, [], true],
  topic: ['', 7, null, {}, [], 'a/b', 'a b', '.', '..', 'ä', 'x'.repeat(250), 'a\n'],
  signal: ['stop', 7, null, {}, new AbortController()],
  word: ['nonsense', 7, null, {}, true],
  object: ['text', 7, null, true],
} satisfies Record<string, readonly unknown[]>
type Kind = keyof typeof wrongFor

/** Everything that takes options: how it is called with them, which options are required, and the kind of each. */
const takers: Record<
  string,
  { readonly call: (options: never) => unknown; readonly needs?: object; readonly has: Readonly<Record<string, Kind>> }
> = {
  createClient: {
    call: (options: never) => createClient(options),
    needs: { group: 'g' },
    has: {
      env: 'object',
      brokers: 'object',
      ssl: 'word',
      sasl: 'object',
      startFrom: 'word',
      suffix: 'text',
      clientId: 'name',
      group: 'name',
      retryTopic: 'topic',
      dlqTopic: 'topic',
      signal: 'signal',
      logger: 'word',
      driver: 'word',
      commitInterval: 'ms',
      rebalanceTimeout: 'ms',
      sessionTimeout: 'ms',
      heartbeatInterval: 'ms',
      stallAfter: 'ms',
      groupProtocol: 'word',
      instanceId: 'name',
      rack: 'name',
      metadataMaxAge: 'ms',
      positions: 'function',
      leaks: 'word',
      codecs: 'object',
    },
  },
  sasl: {
    call: (sasl: never) => configure({ env: {}, sasl }),
    needs: { mechanism: 'plain', username: 'me', password: 'correct horse' },
    has: { mechanism: 'word', username: 'text', password: 'text' },
  },
  ssl: { call: (ssl: never) => configure({ env: {}, ssl }), has: {} },
  codecs: {
    call: (codecs: never) => configure({ env: {}, codecs }),
    has: { gzip: 'function', snappy: 'function', lz4: 'function', zstd: 'function' },
  },
  "topic 'orders'": {
    call: (options: never) => client().topic('orders', options),
    has: {
      retries: 'integer',
      dlq: 'boolean',
      backoff: 'function',
      maxInFlight: 'integer',
      batch: 'boolean',
      keyFence: 'word',
      onFail: 'function',
      decode: 'decoder',
    },
  },
  // `tombstones` belongs to `decode`.
  "topic 'orders' ": {
    call: (options: never) => client().topic('orders', options),
    needs: { decode: String },
    has: { tombstones: 'word' },
  },
  "topic 'orders': keyFence": {
    call: (keyFence: never) => client().topic('orders', { keyFence }),
    has: { afterDeadLetter: 'word', maxKeys: 'integer' },
    needs: { afterDeadLetter: 'continue' },
  },
  publish: {
    call: (record: never) => client().publish(record),
    needs: { topic: 'orders', value: 'v' },
    has: { topic: 'topic', partition: 'integer', timestamp: 'integer', headers: 'object' },
  },
  'publish ': {
    call: (options: never) => client().publish({ topic: 'orders', value: 'v' }, options),
    has: { timeout: 'ms' },
  },
  closeGracefully: {
    call: (options: never) => client().closeGracefully(options),
    has: { timeout: 'ms', signal: 'signal' },
  },
  replayDlq: {
    call: (options: never) => client().replayDlq(options),
    has: { until: 'word', filter: 'function', attempts: 'word', rate: 'number' },
  },
  read: {
    call: (options: never) => client().read('orders', options),
    has: { partitions: 'word', from: 'word', until: 'word' },
  },
  stalls: { call: (options: never) => client().stalls(options), has: { all: 'boolean' } },
  latest: { call: (options: never) => latest(5, options), has: { by: 'function', scheduler: 'word' } },
  deadLetterOf: { call: (options: never) => deadLetterOf({}, options), has: { group: 'name' } },
  handle: {
    call: (options: never) => handle(() => {}, options),
    has: { concurrency: 'limit', order: 'word', timeout: 'ms', scheduler: 'word', onBatchFailure: 'word' },
  },
  decode: { call: (options: never) => decode(String, options), has: { concurrency: 'limit', tombstones: 'word' } },
  completionBarrier: { call: (options: never) => completionBarrier(1, options), has: {} },
  commitOffsets: {
    call: (options: never) => commitOffsets(memoryBroker().driver(), options),
    has: { onError: 'function' },
  },
  exponential: {
    call: exponential,
    needs: { initial: 1 },
    has: { initial: 'ms', factor: 'number', max: 'ms', jitter: 'jitter', random: 'function' },
  },
  retryTopic: {
    call: (options: never) => retryTopic(client(), options),
    needs: { retries: 1 },
    has: { retries: 'integer', backoff: 'function', topic: 'topic' },
  },
  deadLetter: { call: (options: never) => deadLetter(client(), options), has: { topic: 'topic' } },
  redeliver: {
    call: (options: never) => redeliver(client(), options),
    needs: { attempts: 2 },
    has: { attempts: 'limit', backoff: 'function' },
  },
  fail: {
    call: (options: never) => fakeRecord().fail('why', options),
    has: { retry: 'boolean' },
  },
  // A record as a branch of `fork` gets it.
  'fail ': {
    call: (options: never) => branchRecord().fail('why', options),
    has: { retry: 'boolean' },
  },
  breaker: {
    call: (options: never) => breaker(client(), options),
    needs: { failures: 1, within: 1 },
    has: { failures: 'integer', within: 'ms' },
  },
  memoryBroker: {
    call: memoryBroker,
    has: {
      partitions: 'integer',
      latency: 'ms',
      scheduler: 'word',
      autoCreate: 'boolean',
      maxBatchRecords: 'integer',
      maxRecordBytes: 'integer',
      groupProtocol: 'word',
    },
  },
  runMarbles: {
    call: (options: never) => runMarbles(() => {}, options),
    has: { tail: 'ms', advanceTimers: 'function' },
  },
  simulate: {
    call: simulate,
    needs: { scenario: () => {} },
    has: {
      scenario: 'function',
      check: 'function',
      seed: 'word',
      runs: 'integer',
      topics: 'object',
      faults: 'object',
      latency: 'integer',
      tail: 'integer',
    },
  },
  instrument: {
    call: (options: never) => instrument(client(), options).unsubscribe(),
    has: { tracerProvider: 'word', meterProvider: 'word', propagator: 'word', parent: 'word' },
  },
  recordMarbles: {
    call: (options: never) => recordMarbles(client(), options),
    has: { limit: 'integer', values: 'function' },
  },
}

/** Values that are invalid for other options and valid for these. */
const allowed: Readonly<Record<string, (value: unknown) => boolean>> = {
  partitions: value => value !== null && typeof value === 'object' && Object.keys(value).length === 0,
  headers: value => value !== null && typeof value === 'object',
  ssl: value => value === true || (value !== null && typeof value === 'object'),
  seed: value => value === 7,
  failures: value => value === 0,
}

/** `key` and `value` of a record are in no table above, because nearly every value is valid for them. */
const alsoRight = new Set(['key', 'value'])

/** Misspellings of a name: one slip at each letter, and other notations. */
function slipsOf(name: string): string[] {
  const snake = name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
  const slips = [`${name}Ms`, name.toUpperCase(), snake, snake.replaceAll('_', '.'), `${name}s`]
  for (let at = 0; at < name.length - 1; at++) {
    const [before, one, two, after] = [name.slice(0, at), name[at]!, name[at + 1]!, name.slice(at + 2)]
    for (const slip of [two, two + one, one + one + two, `x${two}`]) slips.push(before + slip + after)
  }
  return slips
}

describe.each(Object.entries(takers))('%s', (where, { call, needs = {}, has }) => {
  const called = (options: object) => refusal(() => (call as (options: object) => unknown)({ ...needs, ...options }))
  const place = where.trim()

  it('refuses unknown options, and suggests a similar one', () => {
    for (const name of Object.keys(has).filter(name => name.length > 3)) {
      for (const wrong of slipsOf(name)) {
        if (wrong in has || alsoRight.has(wrong)) continue
        const message = called({ [wrong]: 'a secret' })
        expect(message).toContain(`${place}: unknown option '${wrong}'; did you mean '`)
        // `asl` is as near to `ssl`.
        if (name !== 'sasl') expect(message).toContain(`did you mean '${name}'?`)
        expect(message).not.toContain('a secret')
      }
    }
    for (const name of ['constructor', 'hasOwnProperty', 'nothing like it']) {
      expect(called({ [name]: 1 })).toContain(`${place}: unknown option '${name}'`)
    }
    expect(called(JSON.parse('{"__proto__": 1}'))).toContain('unknown option')
  })

  it('accepts only an object as options', () => {
    for (const options of [null, 7, 'text', [1], true]) {
      if (where === 'ssl' && options === true) continue
      expect(refusal(() => (call as (options: unknown) => unknown)(options))).toMatch(/must be/)
    }
  })

  for (const [option, kind] of Object.entries(has)) {
    it(`refuses an invalid ${option}, and names option and value`, () => {
      for (const value of wrongFor[kind]) {
        if (allowed[option]?.(value)) continue
        const message = called({ [option]: value })
        expect(message).toContain(option)
        // The value may be a secret or large, so only its type is printed.
        const byKind = ['sasl', 'ssl', 'password', 'faults', 'topics'].includes(option)
        if (typeof value === 'number' && !byKind) expect(message).toContain(`(got ${value})`)
        if (typeof value === 'string' && !byKind) expect(message).toContain(JSON.stringify(value).slice(1, -1))
      }
    })
  }
})

describe('a wrong call throws synchronously', () => {
  const record = { topic: 'orders', value: 'v' }
  const noClient =
    ': its first argument must be a client, made by createClient of this version of rxmika; ' +
    'two versions of the package in one program cannot share steps'
  const cases: [name: string, call: () => unknown, message: string][] = [
    ['handle()', () => handle(undefined as never), 'handle: the handler must be a function (got undefined)'],
    [
      'handle({ … })',
      () => handle({ concurrency: 5 } as never),
      'handle: the handler must be a function (got an object)',
    ],
    ['handle(f, 5)', () => handle(() => {}, 5 as never), 'handle: options must be an object (got a number)'],
    [
      'decode()',
      () => decode(undefined as never),
      'decode: the decoder must be a function or a Standard Schema (got undefined)',
    ],
    [
      'decode(json)',
      () => decode(json as unknown as Decoder<unknown>),
      'decode: the decoder must be json(), the result of calling json (got json itself)',
    ],
    ['json({})', () => json({} as never), 'json: the schema must be a Standard Schema (got an object)'],
    ['exponential()', () => exponential(undefined as never), 'exponential: options must be an object (got undefined)'],
    ['exponential(5)', () => exponential(5 as never), 'exponential: options must be an object (got a number)'],
    [
      'fixed()',
      () => fixed(undefined as never),
      'fixed: the delay must be a number of ms from 0 to 2147483647 (got undefined)',
    ],
    [
      'steps()',
      () => steps(undefined as never),
      'steps: the delays must be an array of at least one delay in ms (got undefined)',
    ],
    ['steps(5)', () => steps(5 as never), 'steps: the delays must be an array of at least one delay in ms (got 5)'],
    [
      'retryTopic({ … }) without the client',
      () => retryTopic({ retries: 3 } as never, undefined as never),
      `retryTopic${noClient}`,
    ],
    ['deadLetter()', () => deadLetter(undefined as never), `deadLetter${noClient}`],
    ['halt()', () => halt(undefined as never), `halt${noClient}`],
    [
      'publish without a topic',
      () => client().publish({ value: 'x' } as never),
      'publish: topic must be a non-empty string (got undefined)',
    ],
    [
      'publish(undefined)',
      () => client().publish(undefined as never),
      'publish: the record must be an object { topic, key, value, headers } (got undefined)',
    ],
    [
      'publish(null)',
      () => client().publish(null as never),
      'publish: the record must be an object { topic, key, value, headers } (got null)',
    ],
    [
      'publish(text)',
      () => client().publish('x' as never),
      "publish: the record must be an object { topic, key, value, headers } (got 'x')",
    ],
    [
      'publish of a list with a hole',
      () => client().publish(Object.assign([record], { 2: record }) as never),
      'publish: record 1: the record must be an object { topic, key, value, headers } (got undefined)',
    ],
    [
      "publish as kafkajs's send",
      () => client().publish({ topic: 'orders', messages: [{ value: 'x' }] } as never),
      "publish: unknown option 'messages'; did you mean 'value'?",
    ],
    [
      'publish(topic, record)',
      () => client().publish('orders' as never, { value: 'x' } as never),
      "publish: the record must be an object { topic, key, value, headers } (got 'orders')",
    ],
    ...[undefined, null, 7, { topic: 'orders' }, { topics: ['orders'] }].map((what): (typeof cases)[number] => [
      `topic(${JSON.stringify(what)})`,
      () => client().topic(what as never),
      `topic must be a name, an array of names or a RegExp (got ${typeof what === 'object' && what !== null ? 'an object' : what})`,
    ]),
    [
      'a backoff that throws',
      () =>
        client().topic('orders', {
          retries: 1,
          backoff: () => {
            throw new RangeError('no such attempt')
          },
        }),
      "topic 'orders': retryTopic: backoff(2) threw: RangeError: no such attempt",
    ],
    [
      'publish without a value',
      () => client().publish({ topic: 'orders' } as never),
      'publish to orders: value must be a Buffer, a string or null (got undefined)',
    ],
    [
      'publish with headers in a Map, which has no properties',
      () => client().publish({ ...record, headers: new Map([['a', 'b']]) } as never),
      'publish to orders: headers must be an object of headers, or an array of [name, value] pairs (got an object)',
    ],
    [
      'publish with a pair that is none',
      () => client().publish({ ...record, headers: [['a']] } as never),
      'publish to orders: headers must be an object of headers, or an array of [name, value] pairs (got an array)',
    ],
    [
      'publish with a number in a pair',
      () => client().publish({ ...record, headers: [['a', 7]] } as never),
      "publish to orders: header 'a' must be a Buffer, a string or null (got 7)",
    ],
    [
      'completionBarrier(0)',
      () => completionBarrier(0),
      'completionBarrier: count must be an integer ≥ 1 or Infinity (got 0)',
    ],
    [
      'commitOffsets({})',
      () => commitOffsets({} as never),
      'commitOffsets: the driver must be a driver (got an object)',
    ],
    [
      'failNext of another kind',
      () => memoryBroker().failNext('publish' as never, new Error('no')),
      "failNext: kind must be 'produce', 'commit' or 'fetch' (got 'publish')",
    ],
    ['createClient(null)', () => createClient(null as never), 'createClient: options must be an object (got null)'],
    [
      'topic(name, decoder)',
      () => client().topic('orders', json() as never),
      "topic 'orders': options must be an object (got a function)",
    ],
    [
      'topic of a broker that is one text, with a login',
      () => createClient({ env: {}, brokers: 'kafka://me:secret@host:9092' as never }),
      "brokers must be a list of 'host:port', an IPv6 address in brackets: ['localhost:9092', '[::1]:9092'] " +
        '(got a value with an @); a login is set by the option sasl',
    ],
    [
      'a key as ssl',
      () => createClient({ env: {}, ssl: '-----BEGIN PRIVATE KEY-----' as never }),
      "ssl must be a boolean or an object with node:tls's options (got a string)",
    ],
    [
      'a misspelt TLS option',
      () => createClient({ env: {}, ssl: { rejectUnauthorised: false } as never }),
      "ssl: unknown option 'rejectUnauthorised'; did you mean 'rejectUnauthorized'?",
    ],
    [
      'a helper of marble tests with a client that is none of its options',
      () => runMarbles(({ createClient, close }) => close('x', createClient() && ({ clinet: 1 } as never))),
      "close: unknown option 'clinet'; did you mean 'client'?",
    ],
  ]
  it.each(cases)('%s', (_, call, message) => {
    expect(refusal(call)).toBe(message)
  })
})

describe('brokers', () => {
  it.each([
    '[::1]:9092',
    '[2001:db8::1]:65535',
    '[fe80::1%eth0]:9092',
    '127.0.0.1:1',
    'a-b.example:9092',
    'kafka_1:9092',
  ])('%s is an address', broker => {
    expect(configure({ env: {}, brokers: [broker] }).brokers).toEqual([broker])
    expect(configure({ env: { KAFKA_BROKERS: broker } }).brokers).toEqual([broker])
  })

  it.each([
    '',
    'localhost',
    ':9092',
    'localhost:',
    'localhost:0',
    'localhost:65536',
    '::1:9092',
    '[::1]',
    '[::1:9092',
    '[]:9092',
    '[host]:9092',
    'a b:9092',
    'http://host:9092',
    'a:1,b:2',
    'host:9092/path',
  ])("'%s' is not an address", broker => {
    expect(refusal(() => configure({ env: {}, brokers: [broker] }))).toContain(`(got '${broker}')`)
  })
})
