import {
  concat,
  EMPTY,
  filter,
  firstValueFrom,
  lastValueFrom,
  merge,
  NEVER,
  of,
  Subject,
  throwError,
  toArray,
} from 'rxjs'
import {
  ClientClosedError,
  type ClientOptions,
  type CloseReport,
  CommitError,
  ConnectionError,
  type ConsumeRecord,
  createClient,
  type Driver,
  deadLetter,
  discard,
  FetchError,
  fixed,
  PublishError,
  type RxMikaError,
  type TopicOptions,
} from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Clock } from './clock.js'

/** A driver that does only what the test provides. */
function fakeDriver(does: Partial<Driver>): Driver {
  return {
    connect: () => EMPTY,
    topics: names => of(new Map(names.map(name => [name, 1]))),
    topicNames: names => of(names ?? []),
    endOffsets: () => EMPTY,
    consume: () => NEVER,
    subscribe: () => {},
    pause: () => {},
    resume: () => {},
    readAt: () => EMPTY,
    read: () => NEVER,
    seek: () => EMPTY,
    commit: () => EMPTY,
    produce: () => EMPTY,
    leave: () => EMPTY,
    close: () => EMPTY,
    ...does,
  }
}

it('reports no error for a request that its own close cancelled while it was starting', async () => {
  const memory = memoryBroker().driver()
  const answer = new Subject<never>()
  const asked = new Subject<void>()
  const driver: Driver = {
    scheduler: memory.scheduler,
    connect: context => memory.connect(context),
    topics: () => {
      asked.next()
      return answer
    },
    topicNames: names => memory.topicNames(names),
    endOffsets: topic => memory.endOffsets(topic),
    consume: request => memory.consume(request),
    subscribe: topics => memory.subscribe(topics),
    pause: assignments => memory.pause(assignments),
    resume: assignments => memory.resume(assignments),
    readAt: (assignment, offset) => memory.readAt(assignment, offset),
    read: request => memory.read(request),
    seek: moves => memory.seek(moves),
    commit: points => memory.commit(points),
    produce: outgoing => memory.produce(outgoing),
    leave: () => memory.leave(),
    close: () => {
      answer.error(new ConnectionError('the driver is closed'))
      return memory.close()
    },
  }
  const client = createClient({ driver, group: 'g', env: {}, logger: false })
  const errors: RxMikaError[] = []
  client.errors.subscribe(error => errors.push(error))
  let completed = false
  client.topic('orders').subscribe({
    complete: () => {
      completed = true
    },
  })
  const closing = new Promise<void>(resolve => asked.subscribe(() => resolve()))
  client.start()
  await closing
  expect(await client.close()).toEqual({ drained: true, unsettled: 0, left: [] })
  expect(errors).toEqual([])
  expect(completed).toBe(true)
})

it('does not report as unsettled a record that one path of its route completed and another could not', async () => {
  const broker = memoryBroker()
  const client = createClient({ driver: broker.driver(), group: 'g', dlqTopic: 'dlq', env: {}, logger: false })
  const forked = client.topic('orders', {
    onFail: failures => merge(failures.pipe(discard()), failures.pipe(deadLetter(client))),
  })
  forked.subscribe(record => record.fail('no'))
  broker.publish('orders', [{ value: '0' }])
  broker.failNext('produce', new PublishError('never', { retriable: false }))
  const held = new Promise<RxMikaError>(resolve =>
    client.errors.subscribe(error => error.code === 'RXMIKA_UNROUTABLE_FAILURE' && resolve(error)),
  )
  client.start()
  expect((await held).message).toContain('never')
  expect(await client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
})

it('errors a replay that is subscribed to while the client closes, because it has not completed', async () => {
  const client = createClient({ driver: memoryBroker().driver(), group: 'g', dlqTopic: 'dlq', env: {}, logger: false })
  const replay = client.replayDlq()
  await client.close()
  await expect(firstValueFrom(replay)).rejects.toBeInstanceOf(ClientClosedError)
})

it('uses the topic names of users in errors, including the error that closes the client', async () => {
  const place = { topic: 'orders-test', partition: 0, offset: 7n }
  const driver = fakeDriver({
    consume: () =>
      concat(
        of({ type: 'trouble' as const, error: new FetchError('passed over', place) }),
        throwError(() => new FetchError('no such codec', place)),
      ),
  })
  const client = createClient({ driver, group: 'g', suffix: '-test', env: {}, logger: false })
  const errors: RxMikaError[] = []
  client.errors.subscribe(error => errors.push(error))
  let told: unknown
  client.topic('orders').subscribe({
    error: error => {
      told = error
    },
  })
  client.start()
  await client.closed
  expect(errors).toMatchObject([
    { ...place, topic: 'orders', message: 'passed over' },
    { ...place, topic: 'orders', message: 'no such codec' },
  ])
  expect(told).toBe(errors[1])
})

describe('the report of a close', () => {
  function setUp(options: ClientOptions = {}, topic: TopicOptions = {}) {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock, partitions: { orders: 2 } })
    const client = createClient({
      ...{ driver: broker.driver(), group: 'g', retryTopic: 'retries', dlqTopic: 'dlq', env: {}, logger: false },
      ...options,
    })
    const records: ConsumeRecord[] = []
    client.topic('orders', topic).subscribe({ next: record => records.push(record), error: () => {} })
    client.start().subscribe()
    clock.runTo(100)
    for (let at = 0; at < 6; at++) broker.publish('orders', { key: `${at}`, value: `${at}`, partition: at % 2 })
    clock.runTo(200)
    let report: CloseReport | undefined
    void client.closed.then(end => {
      report = end
    })
    const end = async (from = 200) => {
      clock.runTo(from + 60_000)
      await client.closed
      return report!
    }
    const record = (value: string) => records.find(({ value: bytes }) => String(bytes) === value)!
    return { clock, broker, client, record, end }
  }

  it('lists for each partition the first remaining record, with place, key and reason', async () => {
    const { client, record, end } = setUp({}, { onFail: failures => failures as never })
    record('0').ack()
    record('2').fail('nobody takes it')
    record('1').ack()
    record('3').ack()
    record('4').ack()
    void client.closeGracefully({ timeout: 50 })
    const report = await end()
    const since = expect.any(Number)
    expect(report).toEqual({
      ...{ drained: false, unsettled: 2 },
      left: [
        { topic: 'orders', partition: 0, offset: 1n, key: Buffer.from('2'), attempt: 1, since, why: 'unroutable' },
        { topic: 'orders', partition: 1, offset: 2n, key: Buffer.from('5'), attempt: 1, since, why: 'unsettled' },
      ],
    })
    expect(client.stalls()).toEqual([])
  })

  it('lists neither undelivered records nor retries that are not due', async () => {
    const { client, broker, clock, record, end } = setUp({}, { retries: 1, backoff: fixed(600_000), maxInFlight: 3 })
    for (let at = 0; at < 20; at++) broker.publish('orders', { value: 'more', partition: 0 })
    clock.runTo(400)
    for (const value of ['0', '1', '2', '3', '4']) record(value).ack()
    record('5').fail('later')
    const closed = client.closeGracefully()
    clock.runTo(500)
    void closed
    const report = await end(500)
    expect(report.left.map(({ why }) => why)).not.toContain('not-due')
    expect(report.left.map(({ why }) => why)).not.toContain('no-subscriber')
    expect(report.unsettled === 0).toBe(report.left.length === 0)
  })

  it('has the reason why the last commit failed, and the uncommitted positions', async () => {
    const { broker, client, record, end } = setUp({ commitInterval: 60_000 })
    const refusal = new CommitError('the coordinator is loading', { retriable: true })
    for (let at = 0; at < 1_000; at++) broker.failNext('commit', refusal)
    for (const value of ['0', '2', '4', '1', '3', '5']) record(value).ack()
    void client.closeGracefully()
    const report = await end()
    expect(report).toMatchObject({ drained: false, unsettled: 0, error: refusal })
    expect(report.left).toMatchObject([
      { topic: 'orders', partition: 0, offset: 0n, why: 'committing' },
      { topic: 'orders', partition: 1, offset: 0n, why: 'committing' },
    ])
  })

  it('reports that the last commit was not answered', async () => {
    const { broker, client, record, end } = setUp({ commitInterval: 60_000 })
    for (const value of ['0', '2', '4', '1', '3', '5']) record(value).ack()
    broker.disconnect()
    void client.close()
    const { drained, unsettled, left, error } = await end()
    expect({ drained, unsettled }).toEqual({ drained: false, unsettled: 0 })
    expect(error).toBeInstanceOf(CommitError)
    expect(left.map(({ why }) => why)).toEqual(['committing', 'committing'])
  })

  it('is drained, and has no error, if an earlier commit was refused and the last one confirmed', async () => {
    const { broker, client, record, end } = setUp()
    broker.failNext('commit', new CommitError('not now', { retriable: true }))
    for (const value of ['0', '2', '4', '1', '3', '5']) record(value).ack()
    void client.closeGracefully()
    expect(await end()).toEqual({ drained: true, unsettled: 0, left: [] })
    expect(broker.committed('g', 'orders', 0)).toBe(3n)
  })

  it('commits records that are settled while its commit is in flight', async () => {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock, latency: 50 })
    const client = createClient({ driver: broker.driver(), group: 'g', env: {}, logger: false, commitInterval: 10_000 })
    const records: ConsumeRecord[] = []
    client.topic('orders').subscribe(record => records.push(record))
    client.start()
    clock.runTo(1_000)
    broker.publish('orders', [{ value: '0' }, { value: '1' }])
    clock.runTo(2_000)
    expect(records).toHaveLength(2)
    records[0]!.ack()
    const closed = client.close()
    clock.runTo(2_010)
    expect(records[1]!.ack()).toBe(true)
    clock.runTo(60_000)
    expect(await closed).toEqual({ drained: true, unsettled: 0, left: [] })
    expect(broker.committed('g', 'orders', 0)).toBe(2n)
  })

  it('is not drained, and has the error, if an error closed the client', async () => {
    const controller = new AbortController()
    const { client, end } = setUp({ signal: controller.signal })
    const reason = new Error('enough')
    controller.abort(reason)
    const report = await end()
    expect(report).toMatchObject({ drained: false, unsettled: 6, left: [{ offset: 0n }, { offset: 0n }] })
    expect(report.error).toBeInstanceOf(ClientClosedError)
    expect(report.error!.cause).toBe(reason)
    expect(await client.close()).toBe(report)
  })

  it('has an error that occurs during the close', async () => {
    const { broker, client, record, end } = setUp({ commitInterval: 60_000 })
    const refusal = new CommitError('not authorised', { retriable: false })
    broker.failNext('commit', refusal)
    record('0').ack()
    void client.close()
    expect(await end()).toMatchObject({ drained: false, error: refusal })
  })
})

it('errors a replay that a close interrupts, but not a completed one', () => {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock })
  const headers = { mika_err_g_org_topic: 'orders', mika_err_g_retries: '0' }
  broker.publish('dlq', [
    { value: 'a', headers },
    { value: 'b', headers },
  ])
  const client = createClient({ driver: broker.driver(), group: 'g', dlqTopic: 'dlq', env: {}, logger: false })
  const seen: ConsumeRecord[] = []
  client.topic('orders', { dlq: true }).subscribe(record => seen.push(record))
  client.start()
  clock.runTo(100)
  const ends: unknown[] = []
  const replay = (until: 'caught-up' | 'forever') =>
    client.replayDlq({ until }).subscribe({ error: error => ends.push(error), complete: () => ends.push('complete') })
  replay('caught-up')
  clock.runTo(200)
  for (const record of seen.splice(0)) record.ack()
  clock.runTo(300)
  expect(ends).toEqual(['complete'])
  for (const until of ['caught-up', 'forever'] as const) {
    broker.publish('dlq', [{ value: 'c', headers }])
    replay(until)
    clock.runTo(clock.now() + 100)
    if (until === 'caught-up') for (const record of seen.splice(0)) record.ack()
    clock.runTo(clock.now() + 100)
  }
  client.close()
  clock.runTo(10_000)
  expect(ends).toEqual(['complete', 'complete', expect.any(ClientClosedError)])
  expect((ends[2] as Error).message).toContain('closed before the replay')
})

describe('a late subscriber', () => {
  it('gets the state of a closed client, and its end', async () => {
    const client = createClient({ driver: memoryBroker().driver(), group: 'g', env: {}, logger: false })
    const early: string[] = []
    client.state.subscribe(state => early.push(state))
    await client.close()
    for (let times = 0; times < 2; times++)
      expect(await lastValueFrom(client.state.pipe(toArray()))).toEqual(['closed'])
    expect(await lastValueFrom(client.errors.pipe(toArray()))).toEqual([])
    expect(await lastValueFrom(client.events.pipe(toArray()))).toEqual([])
    expect(early).toEqual(['idle', 'draining', 'closed'])
    expect(client.currentState).toBe('closed')
  })

  /** Fails before `start()` has returned `errors`. */
  function failingAtOnce(error: RxMikaError): Driver {
    return fakeDriver({ connect: () => throwError(() => error) })
  }

  it('gets the errors of a driver that failed synchronously, each once', () => {
    const error = new ConnectionError('no such host')
    const client = createClient({ driver: failingAtOnce(error), group: 'g', env: {}, logger: false })
    const streams: unknown[] = []
    client.topic('orders').subscribe({ error: end => streams.push(end) })
    const seen: unknown[] = []
    client.start().subscribe({ next: told => seen.push(told), complete: () => seen.push('complete') })
    expect(seen).toEqual([error, 'complete'])
    expect(streams).toEqual([error])
    // The error is emitted once. Later subscribers get only the completion.
    const later: unknown[] = []
    client.errors.subscribe({ next: told => later.push(told), complete: () => later.push('complete') })
    expect(later).toEqual(['complete'])
  })

  it('gets only one error with take(1), and the next subscriber gets the rest', async () => {
    const trouble = ['a', 'b', 'c'].map(text => new FetchError(text))
    const driver = fakeDriver({
      consume: () => concat(of(...trouble.map(error => ({ type: 'trouble', error }) as const)), NEVER),
    })
    const client = createClient({ driver, group: 'g', env: {}, logger: false })
    client.topic('orders')
    client.start()
    expect(await firstValueFrom(client.errors)).toBe(trouble[0])
    const rest: unknown[] = []
    client.errors.subscribe(error => rest.push(error))
    expect(rest).toEqual([trouble[1], trouble[2]])
    await client.close()
  })

  it('gets the newest hundred errors that had no subscriber', async () => {
    const trouble = Array.from({ length: 250 }, (_, at) => new FetchError(`${at}`))
    const driver = fakeDriver({
      consume: () => concat(of(...trouble.map(error => ({ type: 'trouble', error }) as const)), NEVER),
    })
    const client = createClient({ driver, group: 'g', env: {}, logger: false })
    client.topic('orders')
    client.start()
    await client.close()
    expect(await lastValueFrom(client.errors.pipe(toArray()))).toEqual(trouble.slice(150))
  })
})

describe('start() with no topic', () => {
  it('connects, runs and publishes, and joins no group', async () => {
    const broker = memoryBroker()
    const driver = broker.driver()
    let consumes = 0
    const consume = driver.consume.bind(driver)
    driver.consume = request => {
      consumes++
      return consume(request)
    }
    const client = createClient({ driver, group: 'g', retryTopic: 'r', dlqTopic: 'd', env: {}, logger: false })
    const errors: unknown[] = []
    client.start().subscribe(error => errors.push(error))
    await firstValueFrom(client.state.pipe(filter(state => state === 'running')))
    const [place] = await firstValueFrom(client.publish({ topic: 'orders', value: 'v' }))
    expect(place).toEqual({ topic: 'orders', partition: 0, offset: 0n })
    expect(client.stalls({ all: true })).toEqual([])
    expect(await client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
    expect(errors).toEqual([])
    expect(consumes).toBe(0)
  })

  it('closes while it connects', async () => {
    const driver = fakeDriver({ connect: () => NEVER })
    const client = createClient({ driver, env: {}, logger: false })
    client.start()
    expect(client.currentState).toBe('starting')
    expect(await client.close()).toEqual({ drained: true, unsettled: 0, left: [] })
  })

  it('closes with an error when it cannot connect', async () => {
    const error = new ConnectionError('refused')
    const driver = fakeDriver({ connect: () => throwError(() => error) })
    const client = createClient({ driver, env: {}, logger: false })
    const errors: unknown[] = []
    client.start().subscribe(told => errors.push(told))
    expect(await client.closed).toEqual({ drained: false, unsettled: 0, left: [], error })
    expect(errors).toEqual([error])
  })
})
