import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { pino } from 'pino'
import { lastValueFrom } from 'rxjs'
import { createClient, type RxMikaError } from 'rxmika'
import { describe, expect, it, vi } from 'vitest'
import { systemClock } from '../../../src/clock'
import { KafkaDriver } from '../../../src/drivers/kafka/driver'
import { Reachability } from '../../../src/drivers/kafka/reachability'
import { Transport } from '../../../src/drivers/kafka/transport/transport'
import { heartbeat } from '../../../src/protocol/messages/heartbeat'
import { brokers, Reading } from '../../fake-broker/reading'

const logger = pino({ enabled: false })
const told = {
  answered: () => {},
  connecting: () => {},
  connected: () => {},
  silent: () => {},
  abandoned: () => {},
  failed: () => {},
}

describe('a connection', () => {
  const request = { groupId: 'billing', generationId: 1, memberId: 'm' }

  it('delays requests for a broker that throttles it, and does not count that time as silence', async test => {
    const kafka = await brokers(test)
    const { port } = kafka.brokers[0]!
    const failed: string[] = []
    const transport = new Transport(
      { clientId: 'c', clock: systemClock, logger },
      { ...told, failed: (_, error) => failed.push(error.message) },
    )
    test.onTestFinished(() => transport.close())
    const ask = (timeout: number) =>
      transport.send({ host: '127.0.0.1', port }, 'control', heartbeat, request, { timeout })
    await ask(1_000)
    // The broker mutes the connection for the throttle time (KIP-219), and answers earlier requests after it.
    kafka.next('Heartbeat', { change: answer => ({ ...answer, throttleTimeMs: 1_000 }) })
    kafka.on('Heartbeat', () => (kafka.count('Heartbeat') === 3 ? { delay: 900 } : undefined))
    const began = performance.now()
    const [first, second] = await Promise.all([ask(300), ask(300)])
    expect(first.throttleTimeMs).toBe(1_000)
    expect(second.errorCode).toBe(25)
    expect(performance.now() - began).toBeGreaterThan(800)
    // The next request is sent when the throttle time is over.
    await ask(300)
    expect(performance.now() - began).toBeGreaterThan(1_000)
    expect(failed).toEqual([])
  })

  it('reads an answer in its socket, however long the process was frozen', async test => {
    const kafka = await brokers(test)
    const { port } = kafka.brokers[0]!
    const failed: string[] = []
    let stoodStill = 0
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + stoodStill }
    const transport = new Transport(
      { clientId: 'c', clock, logger },
      { ...told, failed: (_, error) => failed.push(error.message) },
    )
    test.onTestFinished(() => transport.close())
    const ask = () => transport.send({ host: '127.0.0.1', port }, 'control', heartbeat, request, { timeout: 200 })
    await ask()
    kafka.next('Heartbeat', { delay: 300 })
    const asked = ask()
    // By the time its timer fires, an hour has passed.
    stoodStill = 3_600_000
    expect((await asked).errorCode).toBe(25)
    expect(failed).toEqual([])
  })

  it('ends after a time without answers, and fails the requests that wait', async test => {
    const kafka = await brokers(test)
    const { port } = kafka.brokers[0]!
    const transport = new Transport({ clientId: 'c', clock: systemClock, logger }, told)
    test.onTestFinished(() => transport.close())
    const ask = (timeout: number) =>
      transport.send({ host: '127.0.0.1', port }, 'control', heartbeat, request, { timeout })
    kafka.next('Heartbeat', { ending: 'silence' })
    const [first, second] = await Promise.allSettled([ask(200), ask(5_000)])
    const why = 'did not answer Heartbeat within 200 ms'
    expect(first).toMatchObject({ status: 'rejected', reason: { why, sent: true } })
    expect(second).toMatchObject({ status: 'rejected', reason: { why, sent: true } })
    expect((await ask(1_000)).errorCode).toBe(25)
  })
})

describe.concurrent('a driver', () => {
  it('reports within 5 s, once, a broker that hangs, with its address and the unanswered request', async test => {
    const kafka = await brokers(test, 2)
    kafka.create('orders', 0, 1)
    // The second broker leads a partition. The first coordinates the group and gets only heartbeats.
    for (const [hanging, topic, name] of [
      [1, 'orders', 'Fetch'],
      [0, 'payments', 'Heartbeat'],
    ] as const) {
      kafka.create('payments', 1)
      kafka.log(topic, topic === 'orders' ? 1 : 0).append('a')
      const heartbeatInterval = 3_000
      const reading = await Reading.start(test, kafka, [topic], { group: topic, heartbeatInterval })
      await reading.until(() => reading.has('a'))
      const since = performance.now()
      const goOn = kafka.hang(hanging)
      await reading.until(() => reading.troubles.length > 0)
      expect(performance.now() - since, name).toBeLessThan(5_000)
      expect(reading.troubles[0]).toMatchObject({ code: 'RXMIKA_CONNECTION' })
      expect(reading.troubles[0]!.message).toContain(kafka.addresses[hanging]!)
      expect(reading.troubles[0]!.message).toContain(`has not answered ${name} for`)
      // The other broker answers, so this is no outage.
      expect(reading.story).not.toContain('disconnected')
      goOn()
    }
  }, 20_000)

  it('that only writes reports within 5 s a broker that hangs, also in the failure of publish', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    const client = createClient({ brokers: kafka.addresses, env: {}, logger: false })
    test.onTestFinished(async () => void (await client.close()))
    const errors: RxMikaError[] = []
    client.errors.subscribe(error => errors.push(error))
    await lastValueFrom(client.publish({ topic: 'orders', value: 'a' }))
    kafka.hang(0)
    const refused = lastValueFrom(client.publish({ topic: 'orders', value: 'b' }, { timeout: 4_900 })).catch(
      error => error,
    )
    expect(await refused).toMatchObject({
      code: 'RXMIKA_PUBLISH',
      cause: { message: expect.stringMatching('Produce') },
    })
    expect(errors.map(({ message }) => message)).toEqual([expect.stringMatching('has not answered Produce for')])
    expect(errors[0]!.message).toContain(kafka.addresses[0]!)
  }, 20_000)

  it('reports that it is disconnected when all brokers hang, and reconnected when they answer again', async test => {
    const kafka = await brokers(test, 2)
    kafka.create('orders', 0, 1)
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.assigned.size === 2)
    const goOn = [0, 1].map(node => kafka.hang(node))
    const since = performance.now()
    await reading.until(() => reading.story.includes('disconnected'))
    expect(performance.now() - since).toBeLessThan(5_000)
    for (const end of goOn) end()
    kafka.log('orders').append('a')
    await reading.until(() => reading.story.includes('reconnected') && reading.has('a'))
  }, 20_000)

  it('that is throttled for seconds is not disconnected, reports nothing, and keeps reading', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.has('a'))
    kafka.next('Fetch', { change: answer => ({ ...answer, throttleTimeMs: 3_000 }) })
    kafka.log('orders').append('b')
    await reading.until(() => reading.has('b'))
    kafka.log('orders').append('c')
    await reading.until(() => reading.has('c'))
    expect(reading.troubles).toEqual([])
    expect(reading.story).toEqual(['assigned'])
  }, 15_000)

  it('whose connections are cut continues where it was, and reports nothing', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.has('a'))
    kafka.brokers[0]!.cut()
    kafka.log('orders').append('b')
    await reading.until(() => reading.has('b'))
    expect(reading.records).toEqual(['orders-0@0 a', 'orders-0@1 b'])
    expect(reading.troubles).toEqual([])
  })
})

describe.concurrent('unreachable brokers are reported within 5 s, with address and reason:', () => {
  async function report(address: string, ends: (end: () => Promise<void>) => void, ssl?: ConnectionOptions) {
    const driver = new KafkaDriver({ brokers: [address], ssl })
    ends(async () => {
      await lastValueFrom(driver.close(), { defaultValue: undefined })
    })
    const began = performance.now()
    const message = await new Promise<string>(resolve => {
      driver.trouble.subscribe(error => resolve(error.message))
      driver.connect({ clientId: 'c', logger }).subscribe({ error: error => resolve(error.message) })
    })
    return { message, took: performance.now() - began }
  }

  it('a port on which nothing listens', async ({ onTestFinished, expect }) => {
    const kafka = await brokers({ onTestFinished })
    kafka.stop()
    const [address] = kafka.addresses
    const { message, took } = await report(address!, onTestFinished)
    expect(message).toBe(
      `broker ${address} (of the option 'brokers' or KAFKA_BROKERS) cannot be reached: ` +
        'the connection is refused (ECONNREFUSED); nothing listens on that port; the client keeps trying',
    )
    expect(took).toBeLessThan(5_000)
  }, 10_000)

  it('a name that does not resolve', async ({ onTestFinished, expect }) => {
    const { message, took } = await report('no-such-host.invalid:9092', onTestFinished)
    expect(message).toMatch(/no-such-host\.invalid:9092.*(ENOTFOUND|EAI_AGAIN)/)
    expect(took).toBeLessThan(5_000)
  }, 10_000)

  it('a port that accepts connections and does not answer', async ({ onTestFinished, expect }) => {
    const server = createServer(socket => socket.on('error', () => {}).resume()).listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const { message, took } = await report(address, onTestFinished)
    expect(message).toContain(address)
    expect(message).toContain('does not answer')
    expect(took).toBeLessThan(5_000)
  }, 10_000)

  it.for([
    ['a key that is none', { key: 'a secret' }, /the option ssl cannot be used: error:/],
    [
      'ticket keys that are no bytes',
      { ticketKeys: 'a secret' as never },
      /the option ssl cannot be used: .*options\.ticketKeys/,
    ],
  ] as const)('TLS with %s, without its value', async ([, ssl, reason], { onTestFinished, expect }) => {
    const { message } = await report('127.0.0.1:9', onTestFinished, ssl)
    expect(message).toMatch(reason)
    expect(message).not.toContain('a secret')
  })

  it.for(['end', 'resetAndDestroy'] as const)(
    'a port without TLS, which closes the connection by %s, with that hint',
    { timeout: 10_000 },
    async (close, { onTestFinished, expect }) => {
      const server = createServer(socket => socket.on('error', () => {}).once('data', () => socket[close]()))
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      onTestFinished(() => void server.close())
      const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
      const { message } = await report(address, onTestFinished, {})
      expect(message).toContain(address)
      expect(message).toContain('closed during the TLS handshake; the port may not use TLS (see the option ssl)')
    },
  )

  it('a port with another protocol, which closes the client', async ({ onTestFinished, expect }) => {
    const server = createServer(socket => socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const { message } = await report(address, onTestFinished)
    expect(message).toContain(address)
    expect(message).toContain('does not speak the Kafka protocol')
  })
})

describe('an unreachable broker', () => {
  const kafka1 = { host: 'kafka-1', port: 9092 }
  const kafka2 = { host: 'kafka-2', port: 9092 }

  function reachability({ onTestFinished }: { onTestFinished(end: () => void): void }) {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const reported: string[] = []
    const known = new Reachability(
      systemClock,
      ({ message }) => reported.push(message),
      ({ host }) => host === 'localhost',
    )
    onTestFinished(() => {
      known.end()
      vi.useRealTimers()
    })
    return { reported, known }
  }

  /** One attempt each second. */
  function tryFor(known: Reachability, seconds: number, reason: string, broker = kafka1) {
    for (let second = 0; second < seconds; second++) {
      known.begins(broker)
      known.fails(broker, new Error(reason), true)
      vi.advanceTimersByTime(1_000)
    }
  }

  it('is reported once a minute while it lasts', test => {
    const { known, reported } = reachability(test)
    tryFor(known, 5, 'ECONNREFUSED')
    expect(reported).toHaveLength(1)
    expect(reported[0]).toContain('kafka-1:9092 (as the brokers advertise it)')
    tryFor(known, 55, 'ECONNREFUSED')
    expect(reported).toHaveLength(1)
    tryFor(known, 5, 'ECONNREFUSED')
    expect(reported).toHaveLength(2)
  })

  it('is named as the default if it is', test => {
    const { known, reported } = reachability(test)
    tryFor(known, 5, 'ECONNREFUSED', { host: 'localhost', port: 29_092 })
    tryFor(known, 5, 'ECONNREFUSED', { host: 'localhost', port: 9092 })
    expect(reported).toEqual([
      expect.stringContaining("localhost:29092 (of the option 'brokers' or KAFKA_BROKERS, and their default) cannot"),
      expect.stringContaining("localhost:9092 (of the option 'brokers' or KAFKA_BROKERS) cannot"),
    ])
  })

  it('is not reported if it recovers within seconds, and not more often if it fails repeatedly', test => {
    const { known, reported } = reachability(test)
    tryFor(known, 2, 'ECONNREFUSED')
    known.answers(kafka1)
    expect(known.lastFailure).toBeUndefined()
    vi.advanceTimersByTime(10_000)
    expect(reported).toEqual([])
    for (let outage = 0; outage < 5; outage++) {
      tryFor(known, 6, 'ECONNREFUSED')
      known.answers(kafka1)
    }
    expect(reported).toHaveLength(1)
  })

  it('is forgotten if it was tried once and is not needed any more', test => {
    const { known, reported } = reachability(test)
    tryFor(known, 1, 'ECONNREFUSED')
    vi.advanceTimersByTime(1_000)
    expect(known.lastFailure?.message).toContain('kafka-1:9092')
    vi.advanceTimersByTime(60_000)
    expect(known.lastFailure).toBeUndefined()
    expect(reported).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('gives the newest of the failures that still exist', test => {
    const { known } = reachability(test)
    tryFor(known, 1, 'ECONNREFUSED')
    tryFor(known, 1, 'ENOTFOUND', kafka2)
    expect(known.lastFailure?.message).toContain('kafka-2:9092')
    known.answers(kafka2)
    expect(known.lastFailure?.message).toContain('kafka-1:9092')
    known.answers(kafka1)
    expect(known.lastFailure).toBeUndefined()
  })
})
