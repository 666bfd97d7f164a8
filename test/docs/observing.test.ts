import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Registry } from 'prom-client'
import { filter, firstValueFrom } from 'rxjs'
import { type Client, type ClientOptions, type ClientState, createClient, fixed, handle } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { probes } from '../../examples/probes'
import { register } from '../../examples/prometheus'
import * as channels from '../../src/channels'

const root = new URL('../../', import.meta.url)
const read = (file: string) => readFileSync(fileURLToPath(new URL(file, root)), 'utf8')
const text = read('docs/observing.md')

/** The names in code quotes in the first cells of a table, row by row. */
function column(of: string, heading: string, at = 0): string[][] {
  const table = of.slice(of.indexOf(heading)).split('\n').slice(2)
  const rows = table.slice(
    0,
    table.findIndex(line => !line.startsWith('|')),
  )
  return rows.map(row => [...row.split('|')[at + 1]!.matchAll(/`([^`]+)`/g)].map(([, code]) => code!))
}

/** The fields of an interface in a source file, including those of interfaces that it extends. */
function fieldsOf(source: string, name: string): string[] {
  const found = new RegExp(`interface ${name}( extends [^{]+)? \\{([^}]*(?:\\{[^}]*\\}[^}]*)*?)\\n\\}`).exec(source)!
  const inherited = (found[1] ?? '')
    .replace(' extends ', '')
    .split(',')
    .map(each => each.trim())
    .filter(Boolean)
  const own = [...found[2]!.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(([, field]) => field!)
  return [...inherited.flatMap(each => fieldsOf(source, each)), ...own]
}

const clients: Client[] = []
afterEach(async () => {
  await Promise.all(clients.splice(0).map(client => client.close()))
})

function world(options: ClientOptions = {}) {
  const broker = memoryBroker({ partitions: 1 })
  const client = createClient({
    ...{ driver: broker.driver(), group: 'billing', retryTopic: 'retries', dlqTopic: 'dead', logger: false },
    ...options,
  })
  clients.push(client)
  return { broker, client }
}

const state = (client: Client, wanted: ClientState) =>
  firstValueFrom(client.state.pipe(filter(current => current === wanted)))

describe('docs/observing.md', () => {
  it('names every channel, and every field of its message', () => {
    const source = read('src/channels.ts')
    const told = column(text, '| channel | from').flat()
    const published = [...source.matchAll(/tracingChannel\('([^']+)'\)/g)].map(([, name]) => name!)
    expect(told).toEqual(published)
    expect(Object.keys(channels).filter(name => name.endsWith('Channel'))).toHaveLength(published.length)
    const messages = column(text, '| channel | from', 2)
    const common = fieldsOf(source, 'ClientMessage')
    expect(common).toEqual(['client', 'clientId', 'group'])
    for (const [at, name] of ['Receive', 'Process', 'Settle', 'Publish', 'Commit', 'Rebalance'].entries()) {
      const fields = fieldsOf(source, `${name}Message`).filter(field => !common.includes(field))
      expect(messages[at]!.sort(), name).toEqual(fields.sort())
    }
  })

  it('names every field of metrics()', async () => {
    const { client } = world()
    client.topic('orders').subscribe()
    client.start()
    await state(client, 'running')
    const { topics, partitions, ...others } = client.metrics()
    const told = column(text, '| field | what is counted').flat()
    expect(told).toEqual([...Object.keys(topics.orders!).map(field => `topics[name].${field}`), ...Object.keys(others)])
    const fields = fieldsOf(read('src/metrics.ts'), 'PartitionMetrics')
    expect(fields).toEqual(expect.arrayContaining(Object.keys(partitions[0]!)))
    expect(column(text, '| field | meaning').flat().sort()).toEqual(fields.sort())
  })

  it('names every reason of a stall', () => {
    const events = read('src/events.ts')
    const reasons = /StallReason =([^\n]+)/
      .exec(events)![1]!
      .match(/'([^']+)'/g)!
      .map(each => each.slice(1, -1))
    const waiting = text.slice(text.indexOf('## What is it waiting for?'), text.indexOf('## Health'))
    for (const reason of reasons) expect(waiting).toContain(`\`${reason}\``)
  })

  it('names in docs/reference.md every event, and what it carries', () => {
    const events = read('src/events.ts')
    const outrun = fieldsOf(read('src/delivery.ts'), 'Outrun')
    const parts: Readonly<Record<string, readonly string[]>> = {
      ...{ Place: ['place'], RecordPlace: ['record'], Stall: ['what stalls() returns'], Outrun: outrun },
    }
    const union = events.slice(events.indexOf('export type ClientEvent'))
    const carried = [...union.matchAll(/^ {2}\| \(?\{ readonly type: '([^']+)'([^}]*)\}(.*)$/gm)].map(
      ([, type, own, more]) => [
        type!,
        [
          ...[...own!.matchAll(/readonly (\w+)/g)].map(([, field]) => field!),
          ...[...more!.matchAll(/& (\w+)/g)].flatMap(([, part]) => parts[part!]!),
        ].sort(),
      ],
    )
    const table = read('docs/reference.md')
    const rows = column(table, '| `type` | carries')
    const cells = table
      .slice(table.indexOf('| `type` | carries'))
      .split('\n')
      .slice(2, 2 + rows.length)
      .map(row => row.split('|')[2]!.replace(', without `origin`', '').split(';'))
    const told = rows.flatMap((types, at) =>
      types.map((type, of) => {
        const cell = (cells[at]!.length === 1 ? cells[at]![0] : cells[at]![of])!.trim()
        const fields = cell === 'nothing' ? [] : cell.split(', ').map(field => field.replaceAll(/[`?]/g, ''))
        return [type, fields.sort()]
      }),
    )
    expect(carried.length).toBeGreaterThan(20)
    const byType = ([one]: unknown[], [other]: unknown[]) => (String(one) < String(other) ? -1 : 1)
    expect(told.sort(byType)).toEqual(carried.sort(byType))
  })

  it('names every metric of OpenTelemetry with its kind and its unit', () => {
    const sources = ['operation-metrics', 'client-metrics'].map(file => read(`src/opentelemetry/${file}.ts`)).join()
    const made = [
      ...sources.matchAll(/(?:create|= )(\w+)\(\s*'([^']+)'(?:,\s*'(\w)'|,\s*\{\s*\.\.\.(duration))?/g),
    ].map(([, kind, name, unit, duration]) => `${name} ${kind!.toLowerCase()}${unit === 's' || duration ? ', s' : ''}`)
    expect(made.length).toBeGreaterThan(15)
    const heading = '| metric | kind'
    const table = text.slice(text.indexOf(heading)).split('\n').slice(2)
    const told = column(text, heading).flatMap((names, at) => {
      return names.map(name => `${name} ${table[at]!.split('|')[2]!.trim()}`)
    })
    expect(told.sort()).toEqual(made.sort())
  })
})

describe('the probes of the example', () => {
  async function served(client: Client) {
    const server = probes(client).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    return async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`)
      return [response.status, response.status === 404 ? undefined : await response.json()] as const
    }
  }

  it('answer Kubernetes while starting, running, in an outage, draining and closed', async () => {
    const { broker, client } = world()
    const get = await served(client)
    broker.publish('orders', [{ value: 'a' }])
    const record = firstValueFrom(client.topic('orders'))
    client.start()
    expect(await get('/livez')).toMatchObject([200, { live: true }])
    await state(client, 'running')
    expect(await get('/readyz')).toEqual([200, { live: true, ready: true, reasons: [] }])
    broker.disconnect()
    await firstValueFrom(client.events.pipe(filter(e => e.type === 'disconnected')))
    expect(await get('/readyz')).toMatchObject([503, { live: true, ready: false, reasons: [expect.any(String)] }])
    expect(await get('/livez')).toMatchObject([200, {}])
    const back = firstValueFrom(client.events.pipe(filter(e => e.type === 'reconnected')))
    broker.reconnect()
    await back
    expect(await get('/readyz')).toMatchObject([200, {}])
    ;(await record).ack()
    const closed = client.closeGracefully()
    expect(await get('/readyz')).toMatchObject([503, { ready: false }])
    await closed
    expect(await get('/readyz')).toMatchObject([503, { ready: false, reasons: ['closed'] }])
    expect(await get('/livez')).toMatchObject([200, { live: true }])
    expect(await get('/')).toEqual([404, undefined])
  })

  it('make Kubernetes restart a client that an error has closed', async () => {
    const abort = new AbortController()
    const client = createClient({ driver: memoryBroker().driver(), signal: abort.signal, logger: false })
    client.errors.subscribe()
    const get = await served(client)
    abort.abort(new Error('enough'))
    await client.closed
    expect(await get('/livez')).toMatchObject([503, { live: false, reasons: [expect.stringContaining('closed by')] }])
  })
})

describe('the recipe for prom-client', () => {
  it("exposes the client's metrics to a scrape", async () => {
    const { broker, client } = world({ stallAfter: 20 })
    const registry = new Registry()
    register(client, registry)
    broker.publish('orders', [{ value: 'good' }, { value: 'bad' }, { value: 'dead' }, { value: 'slow' }])
    const stalled = firstValueFrom(client.events.pipe(filter(e => e.type === 'stalled' && e.topic === 'orders')))
    client
      .topic('orders', { retries: 1, backoff: fixed(60_000), dlq: true })
      .pipe(
        handle(record => {
          if (String(record.value) === 'dead') return void record.fail(new RangeError('dead'), { retry: false })
          if (String(record.value) === 'bad') throw new Error('no')
          if (String(record.value) === 'slow') return new Promise(() => {})
          return undefined
        }),
      )
      .subscribe()
    client.start()
    const committed = firstValueFrom(client.events.pipe(filter(e => e.type === 'committed' && e.offset === 3n)))
    await Promise.all([committed, stalled])
    while (client.metrics().partitions.find(({ topic }) => topic === 'retries')?.delayed !== 1) {
      await new Promise(resolve => setImmediate(resolve))
    }
    const once = await registry.metrics()
    const orders = 'messaging_destination_name="orders",messaging_destination_partition_id="0"'
    const retries = 'messaging_destination_name="retries",messaging_destination_partition_id="0"'
    for (const line of [
      `rxmika_partition_lag{${orders}} 1`,
      `rxmika_partition_unfinished{${orders}} 1`,
      `rxmika_partition_in_flight{${orders}} 1`,
      `rxmika_partition_lag{${retries}} 1`,
      `rxmika_partition_delayed{${retries}} 1`,
      'rxmika_records_total{messaging_destination_name="orders",rxmika_outcome="delivered"} 4',
      'rxmika_records_total{messaging_destination_name="orders",rxmika_outcome="acked"} 1',
      'rxmika_records_total{messaging_destination_name="orders",rxmika_outcome="retried"} 1',
      'rxmika_dead_letters_total{messaging_destination_name="orders",error_type="RangeError"} 1',
      'rxmika_published_total 2',
      'rxmika_rebalances_total 1',
      'rxmika_ready 1',
      'rxmika_stalls{rxmika_stall_reason="unsettled"} 1',
      'rxmika_stalls{rxmika_stall_reason="routing"} 0',
    ]) {
      expect(once.split('\n')).toContain(line)
    }
    // A second scrape counts nothing twice.
    const again = await registry.metrics()
    expect(again).toContain('rxmika_published_total 2\n')
    await client.close()
    const closed = await registry.metrics()
    expect(closed).not.toContain('rxmika_partition_lag{')
    expect(closed).toContain('rxmika_ready 0')
  })
})
