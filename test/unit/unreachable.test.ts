import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { ConnectionError, createClient, type RxMikaError } from 'rxmika'
import { afterEach, describe, expect, it, type TestContext, vi } from 'vitest'
import { Reachability } from '../../src/drivers/kafkajs/reachability'
import { Collected } from '../contract/collected'

/** Within which a client reports a broker that cannot be reached, ms. */
const within = 5_000

/** A client without a Kafka, its errors, and how long the first took to come, ms after `start()`. */
async function firstError({ onTestFinished }: TestContext, brokers: readonly string[]) {
  const client = createClient({ env: {}, logger: false, group: 'billing', brokers })
  onTestFinished(async () => {
    await client.close()
  })
  client.topic('orders').subscribe({ error: () => {} })
  const errors = new Collected<RxMikaError>(client.errors)
  const begun = performance.now()
  client.start()
  const [error] = await errors.count(1)
  return { client, errors, error: error!, took: performance.now() - begun }
}

/** A port on which something listens that is no Kafka. */
async function listening(
  { onTestFinished }: TestContext,
  onConnection: (socket: Socket) => void,
): Promise<{ server: Server; port: number }> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    onConnection(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { server, port: (server.address() as AddressInfo).port }
}

async function closedPort(test: TestContext): Promise<number> {
  const { server, port } = await listening(test, () => {})
  server.close()
  await once(server, 'close')
  return port
}

describe.concurrent('a client that cannot reach its brokers reports within 5 s, by address and reason,', () => {
  it('a port on which nothing listens, and goes on trying', async test => {
    const port = await closedPort(test)
    const { client, error, took } = await firstError(test, [`127.0.0.1:${port}`])
    expect(took).toBeLessThan(within)
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error.message).toContain(`127.0.0.1:${port}`)
    expect(error.message).toContain('ECONNREFUSED')
    expect(client.currentState).toBe('starting')
  })

  it('a name that does not resolve', async test => {
    const { client, error, took } = await firstError(test, ['no-such-host.invalid:9092'])
    expect(took).toBeLessThan(within)
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error.message).toContain('no-such-host.invalid:9092')
    expect(error.message).toMatch(/ENOTFOUND|EAI_AGAIN/)
    expect(client.currentState).toBe('starting')
  })

  it('a port that takes connections and says nothing', async test => {
    const { port } = await listening(test, socket => socket.resume())
    const { client, error, took } = await firstError(test, [`127.0.0.1:${port}`])
    expect(took).toBeLessThan(within)
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error.message).toContain(`127.0.0.1:${port}`)
    expect(error.message).toContain('no answer')
    expect(client.currentState).toBe('starting')
  })

  it('a port that speaks something else, which closes the client', async test => {
    const { port } = await listening(test, socket => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    const { client, error, took } = await firstError(test, [`127.0.0.1:${port}`])
    await client.closed
    expect(took).toBeLessThan(within)
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error.message).toContain(`127.0.0.1:${port}`)
    expect(error.message).toContain('does not speak the Kafka protocol')
  })

  it('every broker of several, one error for each', async test => {
    const ports = [await closedPort(test), await closedPort(test)]
    const brokers = ports.map(port => `127.0.0.1:${port}`)
    const { errors, took } = await firstError(test, brokers)
    const two = await errors.count(2)
    expect(took).toBeLessThan(within)
    for (const broker of brokers) expect(two.filter(({ message }) => message.includes(broker))).toHaveLength(1)
  })
})

describe('what is known of brokers that cannot be reached', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  const kafka1 = { host: 'kafka-1', port: 9092, advertised: true }
  const kafka2 = { host: 'kafka-2', port: 9092, advertised: true }

  function reachability() {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const reported: string[] = []
    return { reported, known: new Reachability(({ message }) => reported.push(message)) }
  }

  /** Tries as kafkajs does, each second. */
  function tryFor(known: Reachability, seconds: number, reason: string, broker = kafka1) {
    for (let second = 0; second < seconds; second++) {
      known.begins(broker)
      known.connected(broker)
      known.fails(broker, new Error(reason))
      vi.advanceTimersByTime(1_000)
    }
  }

  it('is reported once a minute for as long as it lasts', () => {
    const { known, reported } = reachability()
    tryFor(known, 5, 'ECONNREFUSED')
    expect(reported).toHaveLength(1)
    expect(reported[0]).toContain('kafka-1:9092')
    tryFor(known, 55, 'ECONNREFUSED')
    expect(reported).toHaveLength(1)
    tryFor(known, 5, 'ECONNREFUSED')
    expect(reported).toHaveLength(2)
    known.end()
  })

  it('is reported at once where the reason changes, and each reason once a minute', () => {
    const { known, reported } = reachability()
    tryFor(known, 5, 'ECONNREFUSED')
    for (let second = 0; second < 30; second++) tryFor(known, 1, second % 2 === 0 ? 'ENOTFOUND' : 'ECONNREFUSED')
    expect(reported).toHaveLength(2)
    known.end()
  })

  it('is not reported for what is over within seconds, and is reported no more often for what comes and goes', () => {
    const { known, reported } = reachability()
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

  it('is forgotten of a broker that was tried once and that nobody asks for any more', () => {
    const { known, reported } = reachability()
    tryFor(known, 1, 'ECONNREFUSED')
    vi.advanceTimersByTime(1_000)
    expect(known.lastFailure?.message).toContain('kafka-1:9092')
    vi.advanceTimersByTime(60_000)
    expect(known.lastFailure).toBeUndefined()
    expect(reported).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('is the newest failure of those that still fail', () => {
    const { known } = reachability()
    tryFor(known, 1, 'ECONNREFUSED')
    tryFor(known, 1, 'ENOTFOUND', kafka2)
    expect(known.lastFailure?.message).toContain('kafka-2:9092')
    known.answers(kafka2)
    expect(known.lastFailure?.message).toContain('kafka-1:9092')
    known.answers(kafka1)
    expect(known.lastFailure).toBeUndefined()
  })

  it('keeps no timer once the driver is closed', () => {
    const { known, reported } = reachability()
    tryFor(known, 1, 'ECONNREFUSED')
    known.end()
    expect(vi.getTimerCount()).toBe(0)
    vi.advanceTimersByTime(60_000)
    expect(reported).toEqual([])
  })
})
