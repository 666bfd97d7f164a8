import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, get, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { filter, firstValueFrom } from 'rxjs'
import { type Client, type ConsumeRecord, fixed, handle } from 'rxmika'
import { inspect } from 'rxmika/inspector'
import { afterEach, describe, expect, it } from 'vitest'
import { command, Running } from '../../cli-command'
import { billing } from '../inspector/billing'

const clients: Client[] = []
const servers: Server[] = []
const lines: Line[] = []
afterEach(async () => {
  await Promise.all(lines.splice(0).map(line => line.cut()))
  await Promise.all(clients.splice(0).map(client => client.close()))
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

function world(...options: Parameters<typeof billing>) {
  const made = billing(...options)
  clients.push(made.client)
  return made
}

/** A client that has delivered these keys of `orders`, and whose pipeline holds them all. */
async function holding(keys: readonly string[], topic = 'orders') {
  const { broker, client } = world()
  const records: ConsumeRecord[] = []
  const delivered = client.topic(topic)
  const all = new Promise<void>(resolve => {
    delivered.subscribe(record => {
      if (records.push(record) === keys.length) resolve()
    })
  })
  client.start()
  broker.publish(
    topic,
    keys.map(key => ({ key, value: 'v' })),
  )
  await all
  return { client, broker, records, url: (await inspect(client)).url }
}

const documents = (text: string) =>
  text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line))

/** A server that is not an inspector. */
async function stranger(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

/** Listens on a port and closes each connection. Resolves when `count` have come and the port is free again. */
async function refusing(port: number, connections: number): Promise<void> {
  const server = createTcpServer().listen(port, '127.0.0.1')
  for (let count = 0; count < connections; count++) {
    const [socket] = await once(server, 'connection')
    socket.destroy()
  }
  server.close()
  await once(server, 'close')
}

/** A proxy of the server on a port, which can be cut. It rewrites the Host, because an inspector refuses other ports. */
class Line {
  #server: Server | undefined
  port = 0

  private constructor(readonly to: number) {}

  static async to(port: number): Promise<Line> {
    const line = new Line(port)
    await line.restore()
    lines.push(line)
    return line
  }

  async restore(): Promise<void> {
    this.#server = createServer((request, response) => {
      const onward = get({ port: this.to, host: '127.0.0.1', path: request.url, agent: false }, answer => {
        response.writeHead(answer.statusCode!, answer.headers)
        answer.on('error', () => {}).pipe(response)
      })
      onward.on('error', () => {})
      response.on('close', () => onward.destroy())
    }).listen(this.port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.port = (this.#server.address() as AddressInfo).port
  }

  async cut(): Promise<void> {
    if (this.#server?.listening !== true) return
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }
}

describe('rxmika stalls', () => {
  it('shows the record that holds each position back, why and for how long', async () => {
    const { url } = await holding(['a', 'b'])
    const { code, out, err } = await command(['stalls', url])
    expect(code).toBe(0)
    expect(out).toMatch(/^PLACE +WHY +FOR +ATTEMPT +KEY\norders-0@0 +unsettled +\d+ ms +1 +a\n$/)
    expect(err).toBe(`billing-1 of group billing, process ${process.pid}: running, ready\n`)
    const all = await command(['stalls', url, '--all'])
    expect(all.out).toMatch(/orders-0@0.*\norders-0@1/)
  })

  it('prints one JSON document for each, and nothing else, with --json', async () => {
    const { url } = await holding(['a'])
    const { code, out, err } = await command(['stalls', '--json', url])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(documents(out)).toEqual([
      {
        place: 'orders-0@0',
        topic: 'orders',
        partition: 0,
        offset: '0',
        origin: null,
        key: 'a',
        attempt: 1,
        since: expect.any(Number),
        why: 'unsettled',
        due: null,
      },
    ])
  })

  it('reports that nothing is held back', async () => {
    const { client } = world()
    const { url } = await inspect(client)
    const said = await command(['stalls', url])
    expect(said).toMatchObject({ code: 0, out: '' })
    expect(said.err).toContain('idle, not ready')
    expect(said.err).toContain('no position is held back')
    expect(await command(['stalls', url, '--json'])).toEqual({ code: 0, out: '', err: '' })
  })

  it('takes the address as a URL, as host:port and as a port', async () => {
    const { url } = await holding(['a'])
    const { host, port } = new URL(url)
    for (const address of [url, `${url}stalls`, host, `localhost:${port}`, port])
      expect(await command(['stalls', address, '--json']), address).toMatchObject({ code: 0, err: '' })
  })

  it('wraps no row in a terminal: a row that is too wide becomes lines of name and value', async () => {
    const topic = `orders-${'created-'.repeat(7)}eu`
    const { url } = await holding(['a'], topic)
    const narrow = await command(['stalls', url], { columns: 80 })
    expect(narrow.out).toMatch(
      new RegExp(`^PLACE    ${topic}-0@0\\nWHY      unsettled\\nFOR      .*\\nATTEMPT  1\\nKEY      a\\n$`),
    )
    for (const line of narrow.out.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
    const piped = await command(['stalls', url])
    expect(piped.out).toMatch(/^PLACE +WHY/)
    expect(piped.out.split('\n')[1]!.length).toBeGreaterThan(80)
  })

  it('shows control characters of a key as escapes', async () => {
    const { url } = await holding(['a\u001b[31m\u009b2J\nb\u202e'])
    for (const options of [[], ['--json']]) {
      const { out } = await command(['stalls', url, ...options])
      expect(out).not.toMatch(/[^\P{Cc}\n]|\u202e/u)
      expect(out).toContain('a\\u001b[31m\\u009b2J\\nb\\u202e')
    }
  })
})

describe('rxmika watch', () => {
  it('shows live held records, their release, and failures, until Ctrl-C', async () => {
    const { url, records, broker } = await holding(['a', 'b'])
    const watching = new Running(['watch', url, '--json', '--held-for', '0s'])
    const isHeld = ({ type, place }: Record<string, unknown>) => type === 'held' && place === 'orders-0@0'
    expect(await watching.document(isHeld)).toMatchObject({ why: 'unsettled', key: 'a', attempt: 1, due: null })
    for (const record of records) record.ack()
    await watching.document(({ type, place }) => type === 'released' && place === 'orders-0@0')
    broker.revoke('billing', 'orders', 0)
    await watching.document(({ type }) => type === 'revoked')
    watching.interrupt()
    const { code, out, err } = await watching.ended
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(documents(out)[0]).toEqual({
      type: 'client',
      at: expect.any(Number),
      clientId: 'billing-1',
      group: 'billing',
      pid: process.pid,
      state: 'running',
      live: true,
      ready: true,
      reasons: [],
    })
  })

  it('shows retries and dead letters with their reason, one event a line', async () => {
    const { broker, client } = world()
    client
      .topic('orders', { retries: 1, backoff: fixed(1), dlq: true })
      .pipe(
        handle(() => {
          throw new RangeError('declined\u001b[1m')
        }),
      )
      .subscribe()
    client.start()
    const { url } = await inspect(client)
    const watching = new Running(['watch', url])
    broker.publish('orders', [{ key: 'a', value: 'hidden' }])
    const dead = await watching.line(line => line.includes('dead-lettered'))
    expect(dead).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3}Z {2}dead-lettered {2}retries-0@0 {2}\(orders-0@0\) {2}attempt 2 {2}RangeError: declined\\u001b\[1m$/,
    )
    watching.interrupt()
    const { code, out, err } = await watching.ended
    expect(code).toBe(0)
    expect(out).toMatch(/retried {8}orders-0@0 {2}attempt 1 {2}RangeError: declined/)
    expect(out).not.toContain('hidden')
    expect(err).toMatch(/^billing-1 of group billing, process \d+: (starting|running)/)
  })

  it('wraps no line in a terminal: fields that do not fit begin another one', async () => {
    const topic = `orders-${'created-'.repeat(4)}`
    const { url } = await holding(['a'], topic)
    const watching = new Running(['watch', url, '--held-for', '0s'], { columns: 80 })
    await watching.line(line => line.startsWith('  unsettled for'))
    watching.interrupt()
    const { out } = await watching.ended
    expect(out).toMatch(new RegExp(`^\\S+Z {2}held {11}${topic}-0@0\\n {2}unsettled for .*, attempt 1, key a\\n$`))
  })

  it('with --no-reconnect ends with the client, and prints how it closed', async () => {
    const { url, client } = await holding(['a'])
    const watching = new Running(['watch', url, '--held-for', '0s', '--no-reconnect'])
    await watching.line(line => line.includes('held'))
    await client.close()
    const { code, out, err } = await watching.ended
    expect(code).toBe(0)
    expect(out).toMatch(/state {10}closed\n$/)
    expect(err).toContain('the client has closed')
  })

  it('with --no-reconnect fails if the inspector is closed while the client keeps running', async () => {
    const { client, records } = await holding(['a'])
    const { url, close } = await inspect(client)
    const watching = new Running(['watch', url, '--held-for', '0s', '--no-reconnect'])
    await watching.line(line => line.includes('held'))
    await close()
    const { code, err } = await watching.ended
    expect(code).toBe(1)
    expect(err).toContain(`${url} has ended the connection: the inspector was closed`)
    expect(records[0]!.ack()).toBe(true)
  })

  it('reconnects to the next process at the address, and prints once that the previous one has ended', async () => {
    const { url, client } = await holding(['a'])
    const port = Number(new URL(url).port)
    const watching = new Running(['watch', url, '--json', '--held-for', '0s'])
    await watching.document(({ type }) => type === 'held')
    await client.close()
    expect(await watching.document(({ type }) => type === 'unreachable')).toEqual({
      type: 'unreachable',
      at: expect.any(Number),
      why: 'the client has closed',
    })
    await refusing(port, 3)
    const next = world({ clientId: 'billing-2' })
    await inspect(next.client, { port })
    await watching.document(({ clientId }) => clientId === 'billing-2')
    watching.interrupt()
    const { code, out, err } = await watching.ended
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const types = documents(out).map(({ type }) => type)
    expect(types.filter(type => type === 'unreachable')).toHaveLength(1)
    expect(types.filter(type => type === 'client')).toHaveLength(2)
    // The records of the first process were not released: the process has ended.
    expect(types).not.toContain('released')
  })

  it('reconnects after the connection was cut: prints how many events it missed, and no record again that is still held', async () => {
    const { broker, client } = world()
    client.topic('orders').subscribe()
    client
      .topic('refunds', { dlq: true })
      .pipe(
        handle(() => {
          throw new RangeError('declined')
        }),
      )
      .subscribe()
    client.start()
    const { url } = await inspect(client)
    const line = await Line.to(Number(new URL(url).port))
    const watching = new Running(['watch', String(line.port), '--json', '--held-for', '0s'])
    broker.publish('orders', [{ key: 'a', value: 'v' }])
    await watching.document(({ type }) => type === 'held')
    await line.cut()
    expect(await watching.document(({ type }) => type === 'unreachable')).toMatchObject({
      why: expect.stringContaining(`http://127.0.0.1:${line.port}/`),
    })
    const dead = firstValueFrom(client.events.pipe(filter(({ type }) => type === 'dead-lettered')))
    broker.publish('refunds', [{ key: 'b', value: 'v' }])
    await dead
    await line.restore()
    expect(await watching.document(({ type }) => type === 'missed')).toMatchObject({ events: 1, frames: 0 })
    watching.interrupt()
    const { code, out } = await watching.ended
    expect(code).toBe(0)
    const types = documents(out).map(({ type }) => type)
    expect(types.filter(type => type === 'held')).toHaveLength(1)
    expect(types).not.toContain('released')
  })

  it('prints one line in a terminal while nothing answers, and exits with 0 on Ctrl-C', async () => {
    const { url, client } = await holding(['a'])
    const watching = new Running(['watch', url, '--held-for', '0s'], { columns: 80 })
    await watching.line(line => line.includes('held'))
    await client.close()
    await watching.line(line =>
      /^\S+Z {2}unreachable {4}the client has closed {2}trying again until Ctrl-C$/.test(line),
    )
    watching.interrupt()
    expect(await watching.ended).toMatchObject({ code: 0 })
  })

  it('ends without an error when its reader ends', async () => {
    const { url } = await holding(['a'])
    const watching = new Running(['watch', url, '--json', '--held-for', '0s'])
    await watching.document(({ type }) => type === 'held')
    watching.closeStdout()
    expect(await watching.ended).toMatchObject({ code: 0, err: '' })
  })
})

describe.each(['stalls', 'watch'])('rxmika %s reports the mistake', name => {
  it('when nothing listens there', async () => {
    const { port } = await new Promise<AddressInfo>(resolve => {
      const server = createTcpServer().listen(0, '127.0.0.1', () => {
        const address = server.address() as AddressInfo
        server.close(() => resolve(address))
      })
    })
    const { code, out, err } = await command([name, String(port)])
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toContain(`rxmika: nothing listens at http://127.0.0.1:${port}/`)
    expect(err).toContain(`inspect(client, { port: ${port} })`)
  })

  it.each<[string, RequestListener, RegExp]>([
    [
      'a page',
      (_, response) => response.setHeader('content-type', 'text/html').end('<html>'),
      /status 200 and text\/html/,
    ],
    ['nothing of that path', (_, response) => response.writeHead(404).end(), /status 404/],
    [
      'a document of its own',
      (_, response) => response.setHeader('content-type', 'application/json').end('{"stalls":[],"identity":{}}'),
      /status 200 and application\/json|messages have version undefined/,
    ],
    [
      'no JSON',
      (_, response) => response.setHeader('content-type', 'application/json').end('[['),
      /status 200 and application\/json|cannot be read/,
    ],
    [
      'other events',
      ({ url }, response) =>
        response
          .setHeader('content-type', url === '/events' ? 'text/event-stream' : 'text/plain')
          .end('data: {"type":"frame"}\n\n'),
      /unknown message|status 200 and text\/plain/,
    ],
    [
      'events that end at once',
      ({ url }, response) =>
        response.setHeader('content-type', url === '/events' ? 'text/event-stream' : 'text/plain').end('retry: 1\n\n'),
      /no snapshot|status 200 and text\/plain/,
    ],
  ])('when %s answers', async (_, listener, why) => {
    const url = await stranger(listener)
    const { code, out, err } = await command([name, url])
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toContain(`${url} is not an inspector of rxmika`)
    expect(err).toMatch(why)
  })

  it('when the server does not speak HTTP', async () => {
    const server = createTcpServer(socket => {
      socket.on('error', () => {})
      socket.end('SSH-2.0-OpenSSH_9\r\n')
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { code, err } = await command([name, String((server.address() as AddressInfo).port)])
    server.close()
    expect(code).toBe(1)
    expect(err).toContain('is not an inspector of rxmika: it does not speak HTTP')
  })

  it('when the inspector refuses the name', async () => {
    const url = await stranger((_, response) =>
      response
        .writeHead(403, { 'content-type': 'application/json; charset=utf-8' })
        .end('{"error":"the Host header does not name this server"}'),
    )
    const { code, err } = await command([name, url])
    expect(code).toBe(1)
    expect(err).toContain('refuses: the Host header does not name this server')
    expect(err).toContain('must keep its number')
  })

  it.each([
    [[], /missing required argument 'url'/],
    [['https://127.0.0.1:9464/'], /must begin with http:\/\//],
    [['http://'], /the address of the inspector must be what inspect\(\) returned/],
    [['http://ada:secret-word@127.0.0.1:1/'], /must have no password/],
    [['9464', '--sasl'], /unknown option '--sasl'/],
  ])('with wrong arguments: %j', async (args, why) => {
    const { code, out, err } = await command([name, ...args])
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toMatch(why)
    expect(err).not.toContain('secret-word')
  })
})

it('refuses an invalid duration', async () => {
  const { code, err } = await command(['watch', '1', '--held-for', 'long'])
  expect(code).toBe(2)
  expect(err).toContain(
    "--held-for must be a number of seconds, minutes, hours or days (90s, 15m, 2h, 3d) (got 'long')",
  )
})

it.each(['--version', '-V'])('shows the version of the package with %s', async flag => {
  const { version } = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8'))
  expect(await command([flag])).toEqual({ code: 0, out: `${version}\n`, err: '' })
})

it('is documented by its help', async () => {
  const { code, out } = await command(['--help'], { columns: 80 })
  expect(code).toBe(0)
  for (const name of ['dlq', 'lag', 'stalls', 'watch']) expect(out).toMatch(new RegExp(`^ +${name}\\b`, 'm'))
  for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
})
