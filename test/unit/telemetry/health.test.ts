import { filter, firstValueFrom, lastValueFrom, merge, Subject, throwError } from 'rxjs'
import {
  type Client,
  type ClientState,
  ConnectionError,
  type ConsumeRequest,
  createClient,
  type Driver,
  type DriverEvent,
  FetchError,
} from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, describe, expect, it } from 'vitest'

const clients: Client[] = []
afterEach(async () => {
  await Promise.all(clients.splice(0).map(client => client.close()))
})

function world(more: Parameters<typeof createClient>[0] = {}) {
  const broker = memoryBroker({ partitions: 1 })
  const client = createClient({ driver: broker.driver(), group: 'billing', logger: false, ...more })
  clients.push(client)
  client.errors.subscribe()
  return { broker, client }
}

const state = (client: Client, wanted: ClientState) =>
  firstValueFrom(client.state.pipe(filter(current => current === wanted)))
const event = (client: Client, type: string) => firstValueFrom(client.events.pipe(filter(e => e.type === type)))
const healthy = { live: true, ready: true, reasons: [] }
const notReady = (reason: string) => ({ live: true, ready: false, reasons: [expect.stringContaining(reason)] })

describe('client.health()', () => {
  it('is not ready before the start and while starting, and ready once it has its assignment', async () => {
    const { client } = world()
    client.topic('orders').subscribe()
    expect(client.health()).toEqual(notReady('not started'))
    client.start()
    expect(client.health()).toEqual(notReady('starting'))
    await state(client, 'running')
    expect(client.health()).toEqual(healthy)
  })

  it('is ready without partitions if other members have all of them', async () => {
    const { client, broker } = world()
    client.topic('orders').subscribe()
    client.start()
    await state(client, 'running')
    const other = createClient({ driver: broker.driver(), group: 'billing', logger: false })
    clients.push(other)
    other.topic('orders').subscribe()
    other.start()
    await state(other, 'running')
    expect(other.metrics().partitions.length + client.metrics().partitions.length).toBe(1)
    expect([client.health(), other.health()]).toEqual([healthy, healthy])
  })

  it('is not ready during an outage, has the reason, and is ready again after it', async () => {
    const { client, broker } = world()
    client.topic('orders').subscribe()
    client.start()
    await state(client, 'running')
    const down = event(client, 'disconnected')
    broker.disconnect()
    await down
    expect(client.health()).toEqual(notReady('no broker answers'))
    const up = event(client, 'reconnected')
    broker.reconnect()
    await up
    expect(client.health()).toEqual(healthy)
  })

  it('is not ready during an outage if it only publishes', async () => {
    const { client, broker } = world({ group: undefined })
    client.start()
    await state(client, 'running')
    expect(client.health()).toEqual(healthy)
    const down = event(client, 'disconnected')
    broker.disconnect()
    await down
    expect(client.health()).toEqual(notReady('no broker answers'))
    const up = event(client, 'reconnected')
    broker.reconnect()
    await up
    expect(client.health()).toEqual(healthy)
  })

  it('is not ready between a lost assignment and the next', async () => {
    const { client, broker } = world()
    client.topic('orders').subscribe()
    client.start()
    await state(client, 'running')
    const atLoss = event(client, 'lost').then(() => client.health())
    const back = event(client, 'assigned')
    broker.lose('billing', 'orders', 0)
    expect([notReady('lost'), healthy]).toContainEqual(await atLoss)
    await back
    expect(client.health()).toEqual(healthy)
  })

  it('is live and not ready while draining and after an ordinary close', async () => {
    const { client, broker } = world()
    broker.publish('orders', [{ value: 'a' }])
    const record = firstValueFrom(client.topic('orders'))
    client.start()
    ;(await record).ack()
    const closed = client.closeGracefully()
    expect(client.health()).toEqual(notReady('draining'))
    await closed
    expect(client.health()).toEqual(notReady('closed'))
  })

  it('is not live once an error closes it, from the beginning of that close', async () => {
    const failing = new ConnectionError('no such user')
    const { client } = world({ driver: failingDriver(failing) })
    client.topic('orders').subscribe({ error: () => {} })
    const last = firstValueFrom(client.state.pipe(filter(current => current === 'draining')))
    client.start()
    await last
    const dead = { live: false, ready: false, reasons: ['closed by an error: no such user'] }
    expect(client.health()).toEqual(dead)
    await client.closed
    expect(client.health()).toEqual(dead)
  })

  it('is not live while no topic can be read and no stream is subscribed to again', async () => {
    const unreadable = new Subject<DriverEvent>()
    const driver = memoryBroker().driver()
    const consume = driver.consume.bind(driver)
    const { client } = world({
      driver: Object.assign(driver, { consume: (request: ConsumeRequest) => merge(consume(request), unreadable) }),
    })
    const [orders, refunds] = [client.topic('orders'), client.topic('refunds')]
    const ended = lastValueFrom(orders).catch(error => error)
    refunds.subscribe({ error: () => {} })
    client.start()
    await state(client, 'running')
    const gone = (topic: string) =>
      ({ type: 'unreadable', isGone: true, topic, error: new FetchError(`${topic} is gone`) }) as const
    unreadable.next(gone('orders'))
    expect(await ended).toMatchObject({ message: 'orders is gone' })
    // The other topic continues.
    expect(client.health()).toEqual(healthy)
    unreadable.next(gone('refunds'))
    expect(client.health()).toEqual({ live: false, ready: false, reasons: [expect.stringContaining('no topic')] })
    orders.subscribe({ error: () => {} })
    expect(client.health()).toEqual(healthy)
  })

  it('is not live once its signal was aborted, which counts as an error', async () => {
    const abort = new AbortController()
    const { client } = world({ signal: abort.signal })
    client.topic('orders').subscribe({ error: () => {} })
    client.start()
    await state(client, 'running')
    abort.abort(new Error('enough'))
    await client.closed
    expect(client.health()).toMatchObject({ live: false, ready: false })
  })

  it('makes an idle driver send requests from the first call of health() on', async () => {
    const driver = memoryBroker().driver() as Driver & { keepAsking?: () => void }
    let asked = 0
    driver.keepAsking = () => asked++
    const { client } = world({ driver })
    client.topic('orders').subscribe()
    client.start()
    await state(client, 'running')
    expect(asked).toBe(0)
    client.health()
    client.health()
    expect(asked).toBe(1)
  })
})

/** A driver that can never connect. */
function failingDriver(error: Error): Driver {
  const driver = memoryBroker().driver()
  return Object.assign(driver, { connect: () => throwError(() => error) })
}
