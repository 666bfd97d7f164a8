import { pipe } from 'rxjs'
import {
  breaker,
  type ClientEvent,
  type ClientOptions,
  ConfigurationError,
  type ConsumeRecord,
  createClient,
  deadLetter,
  handle,
  type RxMikaError,
  TopicAlreadyRegisteredError,
  TopicAlreadySubscribedError,
  TopicNotRegisteredError,
} from 'rxmika'
import { type MemoryBrokerOptions, memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Clock } from './clock.js'

function setUp(options: ClientOptions = {}, brokerOptions: MemoryBrokerOptions = {}) {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, autoCreate: false, ...brokerOptions })
  for (const topic of ['retry', 'dlq']) if (!brokerOptions.autoCreate) broker.createTopic(topic)
  const member = (more: ClientOptions = {}) => {
    const client = createClient({
      ...{ driver: broker.driver(), group: 'g', retryTopic: 'retry', dlqTopic: 'dlq', env: {}, logger: false },
      ...{ commitInterval: 1, ...options, ...more },
    })
    const errors: RxMikaError[] = []
    const events: ClientEvent[] = []
    client.errors.subscribe(error => errors.push(error))
    client.events.subscribe(event => events.push(event))
    return { client, errors, events }
  }
  const runFor = (ms: number) => clock.runTo(clock.now() + ms)
  return { broker, clock, runFor, member, ...member() }
}

const shown = ({ topic, value }: ConsumeRecord) => `${topic} ${value}`
const ack = (seen: string[]) => (record: ConsumeRecord) => {
  seen.push(shown(record))
  record.ack()
}

describe('a pattern', () => {
  it('has the matching topics, and those created later, from their beginning', () => {
    const { broker, client, runFor, errors } = setUp({ startFrom: 'latest' })
    broker.createTopic('orders-de')
    broker.createTopic('payments')
    broker.publish('orders-de', { value: 'before' })
    const seen: string[] = []
    client.topic(/^orders-/).subscribe(ack(seen))
    client.start()
    runFor(100)
    broker.publish('orders-de', { value: 'first' })
    broker.createTopic('orders-fr')
    broker.publish('orders-fr', { value: 'written before it was found' })
    broker.publish('payments', { value: 'of nobody' })
    runFor(100)
    broker.publish('orders-fr', { value: 'second' })
    runFor(100)
    expect(seen).toEqual(['orders-de first', 'orders-fr written before it was found', 'orders-fr second'])
    expect(broker.committed('g', 'orders-fr', 0)).toBe(2n)
    expect(errors).toEqual([])
  })

  it('begins at `startFrom` if that is a date, also in topics created later', () => {
    const { broker, client, runFor } = setUp({ startFrom: new Date(50) })
    const seen: string[] = []
    client.topic(/^orders-/).subscribe(ack(seen))
    client.start()
    runFor(10)
    broker.createTopic('orders-de')
    broker.publish('orders-de', [
      { value: 'old', timestamp: 20 },
      { value: 'new', timestamp: 60 },
    ])
    runFor(100)
    expect(seen).toEqual(['orders-de new'])
  })

  it.each(['classic', 'consumer'] as const)(
    'loses a deleted topic without an error, with the %s protocol',
    groupProtocol => {
      const { broker, client, runFor, errors } = setUp({ groupProtocol })
      for (const topic of ['orders-de', 'orders-fr']) broker.createTopic(topic)
      const seen: string[] = []
      client.topic(/^orders-/).subscribe(ack(seen))
      client.start()
      runFor(100)
      broker.deleteTopic('orders-de')
      runFor(100)
      expect(broker.group('g')?.members.map(({ topics }) => topics)).toEqual([['retry', 'dlq', 'orders-fr']])
      broker.publish('orders-fr', { value: 'goes on' })
      runFor(100)
      broker.createTopic('orders-de')
      broker.publish('orders-de', { value: 'again' })
      runFor(100)
      expect(seen).toEqual(['orders-fr goes on', 'orders-de again'])
      expect(errors).toEqual([])
    },
  )

  it('never has the retry and DLQ topics of its client, nor a topic without its suffix', () => {
    const { broker, client, runFor } = setUp({ suffix: '-test' }, { autoCreate: true })
    broker.createTopic('retry-test')
    broker.createTopic('dlq-test')
    broker.createTopic('orders-test')
    broker.createTopic('orders')
    broker.createTopic('-test')
    const seen: string[] = []
    client.topic(/.*/).subscribe(ack(seen))
    client.start()
    runFor(100)
    expect(broker.group('g-test')?.members[0]?.topics).toEqual(['retry-test', 'dlq-test', 'orders-test'])
    broker.publish('orders-test', { value: '1' })
    runFor(100)
    expect(seen).toEqual(['orders 1'])
  })

  it('retries and dead-letters each topic by its own name', () => {
    const { broker, client, runFor } = setUp()
    for (const topic of ['orders-de', 'orders-fr']) broker.createTopic(topic)
    const seen: string[] = []
    client
      .topic(/^orders-/, { retries: 1, dlq: true })
      .pipe(
        handle(record => {
          seen.push(`${shown(record)} ${record.source.kind} #${record.attempt}`)
          throw new Error('no')
        }),
      )
      .subscribe()
    client.start()
    runFor(100)
    broker.publish('orders-de', { value: 'a' })
    runFor(50)
    broker.publish('orders-fr', { value: 'b' })
    runFor(100)
    expect(seen).toEqual([
      'orders-de a topic #1',
      'orders-de a retry #2',
      'orders-fr b topic #1',
      'orders-fr b retry #2',
    ])
    expect(broker.records('dlq').map(({ headers }) => String(headers.mika_err_g_org_topic))).toEqual([
      'orders-de',
      'orders-fr',
    ])
    client.replayDlq().subscribe()
    runFor(100)
    expect(seen.slice(4).map(line => line.split(' ').slice(0, 3).join(' '))).toEqual([
      'orders-de a dlq',
      'orders-fr b dlq',
    ])
  })

  it('delivers retries of a topic that was deleted', () => {
    const { broker, client, runFor, errors } = setUp()
    broker.createTopic('orders-de')
    const seen: string[] = []
    const first = client
      .topic(/^orders-/, { retries: 5, dlq: true, backoff: () => 1_000 })
      .subscribe(record => record.fail(new Error('not yet')))
    client.start()
    runFor(10)
    broker.publish('orders-de', { value: 'a' })
    runFor(100)
    broker.deleteTopic('orders-de')
    runFor(100)
    first.unsubscribe()
    const { client: other } = { client }
    other.close()
    runFor(100)
    const again = createClient({
      ...{ driver: broker.driver(), group: 'g', retryTopic: 'retry', dlqTopic: 'dlq', env: {}, logger: false },
    })
    again.topic(/^orders-/, { retries: 5, dlq: true }).subscribe(ack(seen))
    again.start()
    runFor(2_000)
    expect(seen).toEqual(['orders-de a'])
    expect(errors).toEqual([])
  })

  it('ignores the lastIndex of a pattern with the flags g or y', () => {
    const { broker, client, runFor } = setUp()
    for (const topic of ['a1', 'a2', 'a3']) broker.createTopic(topic)
    const seen: string[] = []
    const pattern = /a/gy
    pattern.lastIndex = 1
    client.topic(pattern).subscribe(ack(seen))
    client.start()
    runFor(100)
    for (const topic of ['a1', 'a2', 'a3']) broker.publish(topic, { value: 'x' })
    runFor(100)
    expect(seen.sort()).toEqual(['a1 x', 'a2 x', 'a3 x'])
    expect(pattern.lastIndex).toBe(1)
  })

  it('trips a breaker for only one of its topics', () => {
    const { broker, client, runFor, events } = setUp()
    for (const topic of ['orders-de', 'orders-fr']) broker.createTopic(topic)
    const seen: string[] = []
    client
      .topic(/^orders-/, {
        onFail: pipe(breaker(client, { failures: 1, within: 60_000 }), deadLetter(client)),
      })
      .subscribe(record => {
        seen.push(shown(record))
        if (record.topic === 'orders-de') record.fail(new Error('no'))
        else record.ack()
      })
    client.start()
    runFor(100)
    for (let n = 0; n < 3; n++) broker.publish('orders-de', { value: `${n}` })
    runFor(100)
    expect(events.filter(({ type }) => type === 'tripped' || type === 'paused')).toMatchObject([
      { type: 'paused', topic: 'orders-de' },
      { type: 'tripped', topic: 'orders-de' },
    ])
    broker.publish('orders-fr', { value: 'goes on' })
    runFor(100)
    expect(seen.at(-1)).toBe('orders-fr goes on')
    const before = seen.length
    client.resume(/^orders-/)
    runFor(100)
    expect(broker.records('dlq').length).toBeGreaterThan(1)
    expect(seen.length).toBeGreaterThan(before)
  })
})

describe('an array of names', () => {
  it('has one stream of these topics, and of those created later', () => {
    const { broker, client, runFor, errors } = setUp()
    broker.createTopic('a')
    const names = ['a', 'b']
    const seen: string[] = []
    client.topic(names).subscribe(ack(seen))
    names.push('c')
    broker.createTopic('c')
    client.start()
    runFor(100)
    broker.publish('a', { value: '1' })
    broker.publish('c', { value: '2' })
    broker.createTopic('b')
    broker.publish('b', { value: '3' })
    runFor(100)
    expect(seen.sort()).toEqual(['a 1', 'b 3'])
    expect(errors).toEqual([])
  })

  it('is created if the broker creates topics', () => {
    const { broker, client, runFor } = setUp({}, { autoCreate: true })
    client.topic(['a', 'b']).subscribe()
    client.start()
    runFor(100)
    expect([...broker.topics().keys()].sort()).toEqual(['a', 'b', 'dlq', 'retry'])
  })

  it('has one subscriber at a time', () => {
    const { client } = setUp()
    const stream = client.topic(['a', 'b'])
    stream.subscribe()
    let error: unknown
    stream.subscribe({ error: reason => (error = reason) })
    expect(error).toBeInstanceOf(TopicAlreadySubscribedError)
    expect(String(error)).toContain('a, b')
  })
})

describe('the stream that a topic belongs to', () => {
  it('refuses a name that is registered by name, array or pattern', () => {
    const { client } = setUp()
    client.topic('a')
    client.topic(['b', 'c'])
    client.topic(/^d/)
    for (const taken of ['a', 'b', 'd1', ['x', 'a'], ['c'], ['d2'], /^d/]) {
      expect(() => client.topic(taken), String(taken)).toThrow(TopicAlreadyRegisteredError)
    }
    // The refused calls have registered nothing.
    client.topic('x')
  })

  it('delivers topics that several patterns match to the first pattern, and to none if they are registered by name', () => {
    const { broker, client, runFor } = setUp()
    for (const topic of ['orders', 'orders-de', 'orders-fr']) broker.createTopic(topic)
    const seen: Record<string, string[]> = { name: [], first: [], second: [] }
    client.topic('orders').subscribe(ack(seen.name!))
    client.topic(/-de$/).subscribe(ack(seen.first!))
    client.topic(/^orders/).subscribe(ack(seen.second!))
    client.start()
    runFor(100)
    for (const topic of ['orders', 'orders-de', 'orders-fr']) broker.publish(topic, { value: '1' })
    runFor(100)
    expect(seen).toEqual({ name: ['orders 1'], first: ['orders-de 1'], second: ['orders-fr 1'] })
  })

  it('refuses registrations that select nothing, and invalid topic names', () => {
    const { client } = setUp()
    for (const what of [[], [''], ['a', undefined], ['a b'], 7, null, undefined, {}]) {
      expect(() => client.topic(what as never), JSON.stringify(what)).toThrow(ConfigurationError)
    }
    expect(() => client.topic(['a', 'retry'])).toThrow("topic 'retry' is the client's retryTopic")
    expect(() => client.topic(['a', 'a'])).toThrow(TopicAlreadyRegisteredError)
    expect(() => client.topic(/a/, { retires: 1 } as never)).toThrow("topic '/a/'")
  })
})

describe('pause and resume', () => {
  it('accept a registration, which includes topics created later, or one topic', () => {
    const { broker, client, runFor, events } = setUp()
    for (const topic of ['orders-de', 'orders-fr']) broker.createTopic(topic)
    const seen: string[] = []
    client.topic(/^orders-/, { retries: 1 }).subscribe(ack(seen))
    client.pause(/^orders-/)
    client.start()
    runFor(100)
    broker.createTopic('orders-it')
    const all = ['orders-de', 'orders-fr', 'orders-it']
    for (const topic of all) broker.publish(topic, { value: '1' })
    runFor(100)
    expect(seen).toEqual([])
    client.resume('orders-fr')
    runFor(100)
    expect(seen).toEqual(['orders-fr 1'])
    client.resume(/^orders-/)
    runFor(100)
    expect(seen.sort()).toEqual(all.map(topic => `${topic} 1`))
    seen.length = 0
    client.pause('orders-it')
    for (const topic of all) broker.publish(topic, { value: '2' })
    runFor(100)
    expect(seen.sort()).toEqual(['orders-de 2', 'orders-fr 2'])
    expect(client.stalls()).toMatchObject([{ topic: 'orders-it', why: 'paused' }])
    const told = events.flatMap(event =>
      event.type === 'paused' || event.type === 'resumed' ? [`${event.type} ${event.topic}`] : [],
    )
    expect(told).toEqual(['resumed orders-fr', 'resumed orders-de', 'resumed orders-it', 'paused orders-it'])
  })

  it('holds only the retries of a paused topic', () => {
    const { broker, client, runFor } = setUp()
    for (const topic of ['orders-de', 'orders-fr']) broker.createTopic(topic)
    const seen: string[] = []
    client.topic(['orders-de', 'orders-fr'], { retries: 1, backoff: () => 50 }).subscribe(record => {
      seen.push(`${shown(record)} #${record.attempt}`)
      if (record.attempt === 1) record.fail(new Error('no'))
      else record.ack()
    })
    client.start()
    runFor(100)
    for (const topic of ['orders-de', 'orders-fr']) broker.publish(topic, { value: '1' })
    runFor(20)
    client.pause('orders-de')
    runFor(100)
    expect(seen.sort()).toEqual(['orders-de 1 #1', 'orders-fr 1 #1', 'orders-fr 1 #2'])
    client.resume('orders-de')
    runFor(100)
    expect(seen.sort()).toEqual(['orders-de 1 #1', 'orders-de 1 #2', 'orders-fr 1 #1', 'orders-fr 1 #2'])
  })

  it('refuses other selections than those registered', () => {
    const { client } = setUp()
    client.topic(/^orders-/)
    client.topic(['a', 'b'])
    for (const what of ['payments', /^orders/, ['a'], ['a', 'c']]) {
      expect(() => client.pause(what)).toThrow(TopicNotRegisteredError)
      expect(() => client.resume(what)).toThrow(TopicNotRegisteredError)
    }
    client.pause(/^orders-/)
    client.pause(['b', 'a'])
    client.pause('orders-that-is-not-there-yet')
  })
})

describe('topics that are registered after the start', () => {
  it.each(['classic', 'consumer'] as const)('are added while others are read, with the %s protocol', groupProtocol => {
    const { broker, client, runFor, errors, events } = setUp({ groupProtocol })
    for (const topic of ['a', 'b', 'c-1']) broker.createTopic(topic)
    const seen: string[] = []
    client.topic('a').subscribe(ack(seen))
    client.start()
    runFor(100)
    const before = events.length
    client.topic('b').subscribe(ack(seen))
    client.topic(/^c-/).subscribe(ack(seen))
    runFor(100)
    broker.createTopic('c-2')
    runFor(100)
    for (const topic of ['a', 'b', 'c-1', 'c-2']) broker.publish(topic, { value: '1' })
    runFor(100)
    expect(seen.sort()).toEqual(['a 1', 'b 1', 'c-1 1', 'c-2 1'])
    expect(events.slice(before).filter(({ type }) => type === 'revoked' || type === 'lost')).toEqual([])
    expect(errors).toEqual([])
  })

  it('do not interrupt delivery with the consumer protocol', () => {
    const { broker, client, runFor } = setUp({ groupProtocol: 'consumer' })
    for (const topic of ['a', 'b']) broker.createTopic(topic)
    const held: ConsumeRecord[] = []
    client.topic('a').subscribe(record => held.push(record))
    client.start()
    runFor(100)
    broker.publish('a', { value: '1' })
    runFor(10)
    const seen: string[] = []
    client.topic('b').subscribe(ack(seen))
    runFor(10)
    broker.publish('a', { value: '2' })
    broker.publish('b', { value: '3' })
    runFor(10)
    // The unsettled record of `a` would delay a rebalance of all partitions.
    expect(held.map(shown)).toEqual(['a 1', 'a 2'])
    expect(seen).toEqual(['b 3'])
    expect(held[0]!.ack()).toBe(true)
  })

  it('error only their own streams if they do not exist, and can be registered again', () => {
    const { broker, client, runFor, errors } = setUp()
    broker.createTopic('a')
    const seen: string[] = []
    client.topic('a').subscribe(ack(seen))
    client.start()
    const failures: unknown[] = []
    client.topic('b').subscribe({ error: error => failures.push(error) })
    const unsubscribed = client.topic('c')
    runFor(100)
    expect(failures).toEqual([expect.any(ConfigurationError)])
    expect(String(failures[0])).toContain("topic 'b' does not exist")
    unsubscribed.subscribe({ error: error => failures.push(error) })
    expect(String(failures[1])).toContain("topic 'c' does not exist")
    expect(errors.map(({ code }) => code)).toEqual(['RXMIKA_CONFIGURATION', 'RXMIKA_CONFIGURATION'])
    broker.createTopic('b')
    client.topic('b').subscribe(ack(seen))
    runFor(100)
    broker.publish('a', { value: '1' })
    broker.publish('b', { value: '2' })
    runFor(100)
    expect(seen.sort()).toEqual(['a 1', 'b 2'])
    expect(client.currentState).toBe('running')
  })

  it('begin reading if nothing was registered at the start, including retries and dead letters', () => {
    const { broker, client, runFor, errors } = setUp()
    broker.createTopic('a')
    client.start()
    runFor(100)
    expect(client.currentState).toBe('running')
    const attempts: number[] = []
    client.topic('a', { retries: 1, dlq: true }).subscribe(record => {
      attempts.push(record.attempt)
      record.fail(new Error('no'))
    })
    runFor(100)
    broker.publish('a', { value: '1' })
    runFor(100)
    expect(attempts).toEqual([1, 2])
    expect(broker.records('dlq')).toHaveLength(1)
    expect(errors).toEqual([])
  })

  it('are read at once without a group', () => {
    const { broker, client, runFor } = setUp({ group: undefined, retryTopic: undefined, dlqTopic: undefined } as never)
    broker.createTopic('a-1')
    const seen: string[] = []
    client.topic(/^a-/).subscribe(ack(seen))
    client.start()
    runFor(100)
    broker.createTopic('a-2')
    broker.publish('a-2', { value: '1' })
    broker.publish('a-1', { value: '2' })
    runFor(100)
    broker.deleteTopic('a-1')
    runFor(100)
    broker.publish('a-2', { value: '3' })
    runFor(100)
    expect(seen).toEqual(['a-2 1', 'a-1 2', 'a-2 3'].sort((one, other) => seen.indexOf(one) - seen.indexOf(other)))
    expect(seen).toHaveLength(3)
  })

  it('include a pattern that matches nothing yet', () => {
    const { broker, client, runFor } = setUp({ retryTopic: undefined, dlqTopic: undefined } as never)
    const seen: string[] = []
    client.topic(/^a/).subscribe(ack(seen))
    client.start()
    runFor(100)
    expect(client.currentState).toBe('running')
    broker.createTopic('a')
    broker.publish('a', { value: '1' })
    runFor(100)
    expect(seen).toEqual(['a 1'])
  })
})
