import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer, type OutgoingHttpHeaders, request } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { firstValueFrom, lastValueFrom, timer } from 'rxjs'
import { filter } from 'rxjs/operators'
import {
  type Client,
  ClientClosedError,
  ConfigurationError,
  type ConsumeRecord,
  FetchError,
  fixed,
  handle,
} from 'rxmika'
import { inspect } from 'rxmika/inspector'
import { afterEach, describe, expect, it } from 'vitest'
import { markKinds } from '../../../src/inspector/messages'
import { runPrinted } from '../run-printed'
import { billing } from './billing'
import { ViewerOf } from './viewer-of'

const clients: Client[] = []
const viewers: ViewerOf[] = []
afterEach(async () => {
  for (const viewer of viewers.splice(0)) viewer.close()
  await Promise.all(clients.splice(0).map(client => client.close()))
})

function world(...options: Parameters<typeof billing>) {
  const made = billing(...options)
  clients.push(made.client)
  return made
}

async function view(url: string): Promise<ViewerOf> {
  const viewer = await ViewerOf.connect(url)
  viewers.push(viewer)
  return viewer
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

/** Sends a request with any headers, also with those that `fetch` does not allow. */
async function ask(url: string, path: string, headers: OutgoingHttpHeaders = {}, method = 'GET'): Promise<Answer> {
  const { hostname, port } = new URL(url)
  const sent = request({ host: hostname, port, path, method, headers, agent: false })
  sent.end()
  const [response] = await once(sent, 'response')
  let text = ''
  for await (const chunk of response) text += chunk
  return { status: response.statusCode, headers: response.headers, text }
}

const eventOf = (client: Client, type: string) =>
  firstValueFrom(client.events.pipe(filter(event => event.type === type)))
const isWatched = () =>
  channel('tracing:rxmika:receive:start').hasSubscribers || channel('tracing:rxmika:settle:start').hasSubscribers

describe('inspect', () => {
  it('serves its page on 127.0.0.1 at a free port, with a strict content security policy', async () => {
    const { client } = world()
    const { url } = await inspect(client)
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/)
    const page = await ask(url, '/')
    expect(page).toMatchObject({ status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } })
    for (const [, path] of page.text.matchAll(/(?:href|src)="(\/[^"]+)"/g)) {
      expect(await ask(url, path!), path).toMatchObject({ status: 200, headers: { 'cache-control': 'no-store' } })
    }
    expect(page.text).not.toMatch(/https?:\/\/(?!www\.w3\.org\/2000\/svg)/)
    const policy = String(page.headers['content-security-policy'])
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toMatch(/unsafe|\*|https?:/)
    expect(await ask(url, '/', {}, 'HEAD')).toMatchObject({ status: 200, text: '' })
    expect(await ask(url, '/events', {}, 'HEAD')).toMatchObject({ status: 200, text: '' })
    for (const path of ['/nothing', '/../package.json', '/page.js/x', '//evil.example/'])
      expect(await ask(url, path), path).toMatchObject({ status: 404 })
    expect(await ask(url, '/test?last=no')).toMatchObject({ status: 400 })
    expect(await ask(url, '/test?topic=orders')).toMatchObject({ status: 400 })
  })

  describe('accepts only requests to its own names from its own page:', () => {
    const cases: readonly (readonly [title: string, headers: (port: string) => OutgoingHttpHeaders, status: number])[] =
      [
        ['its address', port => ({ host: `127.0.0.1:${port}` }), 200],
        ['localhost', port => ({ host: `localhost:${port}` }), 200],
        ['localhost in any case', port => ({ host: `LocalHost:${port}` }), 200],
        ['a foreign name that resolves to this machine', port => ({ host: `evil.example:${port}` }), 403],
        ['a foreign name that begins with its address', port => ({ host: `127.0.0.1.evil.example:${port}` }), 403],
        ['a foreign name that ends with localhost', port => ({ host: `evil.localhost:${port}` }), 403],
        ['another port', () => ({ host: '127.0.0.1:1' }), 403],
        ['no port', () => ({ host: '127.0.0.1' }), 403],
        ['its own page', port => ({ host: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` }), 200],
        [
          'its own page under another of its names',
          port => ({ host: `localhost:${port}`, origin: `http://127.0.0.1:${port}` }),
          403,
        ],
        ['another page', port => ({ host: `127.0.0.1:${port}`, origin: 'https://evil.example' }), 403],
        ['another page on this machine', port => ({ host: `localhost:${port}`, origin: 'http://localhost:3000' }), 403],
        ['a page with an opaque origin', port => ({ host: `127.0.0.1:${port}`, origin: 'null' }), 403],
        ['its own page by TLS', port => ({ host: `127.0.0.1:${port}`, origin: `https://127.0.0.1:${port}` }), 403],
        [
          'a script tag elsewhere',
          port => ({ host: `127.0.0.1:${port}`, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }),
          403,
        ],
        [
          'a frame elsewhere',
          port => ({
            host: `127.0.0.1:${port}`,
            'sec-fetch-site': 'cross-site',
            'sec-fetch-mode': 'navigate',
            'sec-fetch-dest': 'iframe',
          }),
          403,
        ],
        ['another port of this machine', port => ({ host: `127.0.0.1:${port}`, 'sec-fetch-site': 'same-site' }), 403],
        ['its own script', port => ({ host: `127.0.0.1:${port}`, 'sec-fetch-site': 'same-origin' }), 200],
      ]
    it.each(cases)('%s', async (_, headersAt, status) => {
      const { client } = world()
      const { url } = await inspect(client)
      const headers = headersAt(new URL(url).port)
      for (const path of ['/', '/stalls', '/test', '/page.js']) {
        expect(await ask(url, path, headers), path).toMatchObject({ status })
      }
      // HEAD, because the answer to a viewer's GET does not end.
      expect(await ask(url, '/events', headers, 'HEAD')).toMatchObject({ status })
    })

    it('allows a link from another page to the page, and to nothing else', async () => {
      const { client } = world()
      const { url } = await inspect(client)
      const visit = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
      expect(await ask(url, '/', visit)).toMatchObject({ status: 200, headers: { 'x-frame-options': 'DENY' } })
      expect(await ask(url, '/stalls', visit)).toMatchObject({ status: 403 })
    })

    it('a request without a host', async () => {
      const { client } = world()
      const { url } = await inspect(client)
      const socket = connect(Number(new URL(url).port), '127.0.0.1')
      socket.end('GET /stalls HTTP/1.0\r\n\r\n')
      let text = ''
      for await (const chunk of socket) text += chunk
      expect(text).toMatch(/^HTTP\/1\.1 403 /)
    })
  })

  it.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])('refuses %s on every path', async method => {
    const { client } = world()
    const { url } = await inspect(client)
    for (const path of ['/', '/events', '/stalls', '/test']) {
      expect(await ask(url, path, {}, method)).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } })
    }
  })

  it('answers /stalls with the records that hold positions back, the reasons, and when retries are due', async () => {
    const { client, broker } = world()
    const held: ConsumeRecord[] = []
    client.topic('orders', { retries: 1, backoff: fixed(60_000) }).subscribe(record => {
      if (String(record.key) === 'fails') record.fail(new Error('no'))
      else held.push(record)
    })
    client.start()
    const retried = eventOf(client, 'retried')
    broker.publish('orders', [
      { key: 'stays', value: 'v' },
      { key: 'fails', value: 'v' },
    ])
    await retried
    while (client.metrics().partitions.every(({ delayed }) => delayed === 0)) await lastValueFrom(timer(5))
    const { url } = await inspect(client)
    const before = Date.now()
    const answer = JSON.parse((await ask(url, '/stalls')).text)
    expect(answer).toMatchObject({ state: 'running', health: { ready: true }, more: 0 })
    expect(answer.identity).toMatchObject({
      clientId: 'billing-1',
      group: 'billing',
      retryTopic: 'retries',
      dlqTopic: 'dead',
    })
    expect(answer.stalls).toMatchObject([
      { place: 'orders-0@0', why: 'unsettled', key: 'stays', attempt: 1, origin: null, due: null },
      { place: 'retries-0@0', why: 'not-due', key: 'fails', attempt: 2, origin: 'orders-0@1' },
    ])
    const { due } = answer.stalls[1]
    expect(due).toBeGreaterThan(before + 50_000)
    expect(due).toBeLessThanOrEqual(Date.now() + 60_000)
    expect(client.stalls().map(stall => stall.due)).toEqual([undefined, expect.closeTo(due, -2)])
    expect(client.stalls({ all: true })[1]!.due).toEqual(expect.closeTo(due, -2))
    const viewer = await view(url)
    expect((await viewer.snapshot()).retries).toMatchObject({ waiting: 1, next: [{ place: 'retries-0@0' }] })
    held[0]!.ack()
    await eventOf(client, 'committed')
    expect(JSON.parse((await ask(url, '/stalls')).text).stalls).toMatchObject([{ place: 'retries-0@0' }])
  })

  it('sends marks live, and dead letters, errors and rebalances since inspect() was called', async () => {
    const { client, broker } = world()
    const { url } = await inspect(client)
    client
      .topic('orders', { dlq: true })
      .pipe(
        handle(({ key }) => {
          if (String(key) === 'bad') throw new RangeError('declined')
        }),
      )
      .subscribe()
    client.start()
    const dead = eventOf(client, 'dead-lettered')
    broker.failNext('fetch', new FetchError('nothing today'))
    broker.publish('orders', [{ key: 'bad', value: 'v' }])
    await firstValueFrom(client.errors)
    await dead
    const viewer = await view(url)
    const { deadLetters, errors, rebalances, identity } = await viewer.snapshot()
    expect(deadLetters).toMatchObject({
      count: 1,
      newest: [{ place: 'orders-0@0', error: 'RangeError', text: 'declined', attempt: 1, type: 'dead-lettered' }],
    })
    expect(errors).toMatchObject({ count: 1, newest: [{ type: 'error', error: 'FetchError' }] })
    expect(rebalances.newest[0]!.text).toMatch(/^\d+ added \(.*orders-0.*\) in \d+ ms$/)
    expect(identity.pid).toBe(process.pid)

    broker.publish('orders', [
      { key: 'good', value: 'v' },
      { key: 'bad', value: 'v' },
    ])
    const frame = await viewer.frame(({ happenings }) => happenings.length > 0)
    expect(frame.happenings).toMatchObject([{ type: 'dead-lettered', place: 'orders-0@2' }])
    await viewer.frame(({ standing }) => standing?.happened.deadLetters === 2)
    const rows = viewer.frames.reduce<string[]>(
      (names, { rows, from }) => {
        for (const [at, name] of rows.entries()) names[from + at] = name
        return names
      },
      [...(await viewer.snapshot()).rows],
    )
    const marks = viewer.frames.flatMap(({ marks }) => marks)
    const named = marks.map(([kind, row, before, offset]) => {
      expect(before).toBeGreaterThanOrEqual(0)
      return `${markKinds[kind]} ${rows[row]}@${offset}`
    })
    for (const mark of [
      'delivered orders-0@1',
      'acked orders-0@1',
      'failed orders-0@2',
      'dead-lettered orders-0@2',
      'committed orders-0@3',
    ]) {
      expect(named).toContain(mark)
    }
    const counts = viewer.frames.flatMap(({ counts }) => counts).map(([, ...of]) => of)
    expect(counts.reduce<number[]>((sum, of) => sum.map((value, at) => value + of[at]!), [0, 0, 0])).toEqual([2, 1, 1])
  })

  it('subscribes to records with the first viewer, and unsubscribes when the last viewer leaves', async () => {
    const { client, broker } = world()
    const { url } = await inspect(client)
    const done = client.topic('orders').pipe(handle(() => {}))
    done.subscribe()
    client.start()
    expect(isWatched()).toBe(false)
    const [one, other] = [await view(url), await view(url)]
    expect(isWatched()).toBe(true)
    broker.publish('orders', [{ value: 'v' }])
    await Promise.all([one, other].map(viewer => viewer.frame(({ marks }) => marks.length > 0)))
    one.close()
    await other.frame(() => true)
    expect(isWatched()).toBe(true)
    other.close()
    while (isWatched()) await lastValueFrom(timer(5))
    const again = await view(url)
    broker.publish('orders', [{ value: 'v' }])
    expect((await again.frame(({ counts }) => counts.length > 0)).counts).toMatchObject([[0, 1, 1, 0]])
  })

  it('uses less than 1 % of a core while nobody looks, after a viewer has left, too', async () => {
    const { client, broker } = world({}, 100)
    client
      .topic('orders')
      .pipe(handle(() => {}))
      .subscribe()
    client.start()
    const { url } = await inspect(client)
    broker.publish(
      'orders',
      Array.from({ length: 100 }, (_, partition) => ({ partition, value: 'v' })),
    )
    const viewer = await view(url)
    await viewer.frame(({ standing }) => (standing?.partitions.length ?? 0) >= 100)
    viewer.close()
    while (isWatched()) await lastValueFrom(timer(5))
    // Other work in this process may take time in some measurements. A cost of the inspector would be in all of them.
    const shares: number[] = []
    while (shares.length < 20 && !shares.some(share => share < 0.01)) {
      const [before, began] = [process.cpuUsage(), performance.now()]
      await lastValueFrom(timer(400))
      const { user, system } = process.cpuUsage(before)
      shares.push((user + system) / 1_000 / (performance.now() - began))
    }
    expect(Math.min(...shares)).toBeLessThan(0.01)
  })

  it('samples deliveries when there are too many to draw, says so, and still counts all', async () => {
    const { client, broker } = world({}, 10)
    client
      .topic('orders')
      .pipe(handle(() => {}, { order: 'none', concurrency: 1_000 }))
      .subscribe()
    client.start()
    const { url } = await inspect(client)
    const viewer = await view(url)
    broker.publish(
      'orders',
      Array.from({ length: 6_000 }, (_, at) => ({ value: 'v', partition: at % 10 })),
    )
    const counted = () =>
      viewer.frames.flatMap(({ counts }) => counts).reduce((sum, [, delivered]) => sum + delivered, 0)
    await viewer.first((message): message is never => message.type === 'frame' && counted() === 6_000)
    const { shown, of } = viewer.frames.reduce(
      (sum, { sampled }) => ({ shown: sum.shown + sampled.shown, of: sum.of + sampled.of }),
      { shown: 0, of: 0 },
    )
    expect(of).toBe(6_000)
    expect(shown).toBeLessThan(6_000)
    expect(shown).toBeGreaterThan(0)
    for (const { marks } of viewer.frames) expect(marks.length).toBeLessThan(1_000)
  })

  it('accepts eight viewers, and another once one has left', async () => {
    const { client } = world()
    const { url } = await inspect(client)
    const first = await view(url)
    for (let more = 0; more < 7; more++) await view(url)
    expect(await ask(url, '/events')).toMatchObject({ status: 503, headers: { 'retry-after': '10' } })
    first.close()
    for (;;) {
      const joined = await view(url).catch(() => undefined)
      if (joined !== undefined) break
    }
  })

  it('sends frames to other viewers while one viewer reads nothing', async () => {
    const { client, broker } = world()
    client
      .topic('orders')
      .pipe(handle(() => {}, { order: 'none', concurrency: 100 }))
      .subscribe()
    client.start()
    const { url } = await inspect(client)
    const { port } = new URL(url)
    const deaf = connect(Number(port), '127.0.0.1')
    deaf.write(`GET /events HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`)
    await once(deaf, 'readable')
    const viewer = await view(url)
    broker.publish('orders', [{ value: 'v' }])
    const frame = await viewer.frame(({ marks }) => marks.length > 0)
    expect(frame.missed).toBe(0)
    deaf.destroy()
  })

  it('sends neither values nor headers nor credentials', async () => {
    const { client, broker } = world({
      brokers: ['localhost:1'],
      sasl: { mechanism: 'plain', username: 'hidden-user', password: 'hidden-password' },
    })
    const stays: ConsumeRecord[] = []
    client.topic('orders', { dlq: true }).subscribe(record => {
      if (record.offset === 0n) record.fail(new Error('declined'))
      else stays.push(record)
    })
    client.start()
    const { url } = await inspect(client)
    const viewer = await view(url)
    const dead = eventOf(client, 'dead-lettered')
    broker.publish(
      'orders',
      [1, 2].map(() => ({ key: 'k', value: 'hidden-value', headers: { token: 'hidden-token' } })),
    )
    await dead
    await viewer.frame(({ standing }) => standing?.happened.deadLetters === 1)
    const answers = await Promise.all(['/stalls?all', '/test', '/'].map(path => ask(url, path)))
    const all = JSON.stringify([viewer.all, answers])
    expect(all).toContain('declined')
    expect(all).not.toContain('hidden-')
  })

  it('writes a marble test of the newest records, which passes', async () => {
    const { client, broker } = world()
    client
      .topic('orders', { dlq: true })
      .pipe(
        handle(({ key }) => {
          if (String(key) === 'b') throw new Error('no')
        }),
      )
      .subscribe()
    client.start()
    const { url } = await inspect(client)
    const nothing = JSON.parse((await ask(url, '/test')).text)
    expect(nothing).toMatchObject({ test: null, why: expect.stringContaining('while a viewer is connected') })
    const viewer = await view(url)
    expect(JSON.parse((await ask(url, '/test')).text)).toMatchObject({
      test: null,
      why: 'no record was delivered in this time',
    })
    broker.publish(
      'orders',
      ['a', 'b', 'c'].map(key => ({ key, value: 'hidden' })),
    )
    await viewer.frame(({ marks }) =>
      marks.some(([kind, , , offset]) => markKinds[kind] === 'committed' && offset === 3),
    )
    const { test, diagram, why } = JSON.parse((await ask(url, '/test?last=60000')).text)
    expect(why).toBe(null)
    expect(test).toContain("records('orders'")
    expect(test).not.toContain('hidden')
    expect(diagram).toContain('delivered of orders-0')
    await runPrinted(test)
    const other = JSON.parse((await ask(url, '/test?last=60000&topic=orders&partition=7')).text)
    expect(other).toMatchObject({ test: null, of: 0 })
    const past = JSON.parse((await ask(url, `/test?last=60000&until=${Date.now() - 60_000}`)).text)
    expect(past).toMatchObject({ test: null, of: 0 })
  })

  it('leaves the buffered errors to a later subscriber of client.errors', async () => {
    const { client, broker } = world()
    await inspect(client)
    client.topic('orders').subscribe({ error: () => {} })
    const assigned = eventOf(client, 'assigned')
    client.start()
    await assigned
    broker.failNext('fetch', new FetchError('nothing today'))
    broker.publish('orders', [{ value: 'v' }])
    await lastValueFrom(timer(50))
    expect((await firstValueFrom(client.errors)).message).toContain('nothing today')
  })

  describe('closes', () => {
    it('with the client, and sends viewers its last state', async () => {
      const { client } = world()
      client.topic('orders').subscribe()
      client.start()
      const { url, close } = await inspect(client)
      const viewer = await view(url)
      await client.close()
      const last = await viewer.frame(({ standing }) => standing?.state === 'closed')
      expect(last.happenings.map(({ text }) => text)).toContain('closed')
      await lastValueFrom(viewer.messages)
      await close()
      await expect(fetch(url)).rejects.toThrow()
      expect(isWatched()).toBe(false)
    })

    it('on close(), even with a viewer that reads nothing, while the client keeps running', async () => {
      const { client, broker } = world()
      const settled = client.topic('orders').pipe(handle(() => {}))
      const first = firstValueFrom(settled)
      client.start()
      const { url, close } = await inspect(client)
      const { port } = new URL(url)
      const deaf = connect(Number(port), '127.0.0.1')
      deaf.write(`GET /events HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`)
      await once(deaf, 'readable')
      deaf.on('error', () => {})
      const ends = [close(), close()]
      await Promise.all(ends)
      await expect(fetch(url)).rejects.toThrow()
      broker.publish('orders', [{ value: 'v' }])
      expect(await first).toMatchObject({ status: 'acked' })
      const again = await inspect(client, { port: Number(port) })
      expect(again.url).toBe(url)
    })
  })

  describe('rejects', () => {
    it.each([
      { options: { ports: 1 }, says: "inspect: unknown option 'ports'; did you mean 'port'?" },
      { options: { port: -1 }, says: 'inspect: port must be an integer from 0 to 65535 (got -1)' },
      { options: { port: '80' }, says: "inspect: port must be an integer from 0 to 65535 (got '80')" },
      { options: { host: '' }, says: "inspect: host must be a non-empty string (got '')" },
      { options: null, says: 'inspect: options must be an object (got null)' },
    ])('the options $options', async ({ options, says }) => {
      const { client } = world()
      const failure = await inspect(client, options as never).catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(ConfigurationError)
      expect((failure as Error).message).toContain(says)
    })

    it('if the port is in use, and names the port', async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const { client } = world()
      const failure = await inspect(client, { port }).catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(ConfigurationError)
      expect((failure as Error).message).toContain(`inspect: port ${port} of 127.0.0.1 is in use`)
      server.close()
      await once(server, 'close')
      expect((await inspect(client, { port })).url).toBe(`http://127.0.0.1:${port}/`)
    })

    it('if the client is closed, or is not a client', async () => {
      const { client } = world()
      await client.close()
      await expect(inspect(client)).rejects.toBeInstanceOf(ClientClosedError)
      await expect(inspect({} as Client)).rejects.toBeInstanceOf(ConfigurationError)
      await expect(inspect(undefined as never)).rejects.toBeInstanceOf(ConfigurationError)
    })
  })
})
