import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { createClient, type RxMikaError } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Clock } from './clock.js'

function setUp() {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock })
  const client = createClient({
    ...{ driver: broker.driver(), group: 'billing', retryTopic: 'retry', dlqTopic: 'dlq', logger: false },
    stallAfter: 2 ** 31 - 1,
  })
  return { clock, broker, client }
}

describe('close()', () => {
  it.each(['the end of a stream', 'the state'])(
    'ends a graceful close that has just begun, within %s',
    async within => {
      const { clock, broker, client } = setUp()
      // It never settles its record.
      client.topic('orders').subscribe({ complete: () => within === 'the end of a stream' && void client.close() })
      client.state.subscribe(state => within === 'the state' && state === 'draining' && void client.close())
      client.start().subscribe()
      broker.publish('orders', [{ value: 'a' }])
      clock.runTo(1_000)
      client.closeGracefully({ timeout: 30_000 })
      clock.runTo(2_000)
      expect(client.currentState).toBe('closed')
      expect(await client.closed).toMatchObject({ drained: false, unsettled: 1 })
    },
  )

  it('in the handler of a delayed retry leaves no timer for the others, which would keep the process alive', async () => {
    const { clock, broker, client } = setUp()
    const due = (value: string, notBefore: number) => ({
      value,
      headers: {
        mika_err_billing_org_topic: 'orders',
        mika_err_billing_retries: '1',
        mika_err_billing_failed_at: '0',
        mika_err_billing_not_before: String(notBefore),
      },
    })
    client.topic('orders', { retries: 3 }).subscribe(() => void client.close())
    client.start().subscribe()
    broker.publish('retry', [due('near', 1_000), due('far', 600_000)])
    clock.runTo(10_000)
    await client.closed
    expect(clock.actions).toEqual([])
  })
})

it.each(['starting', 'running', 'draining'] as const)(
  'all subscribers see the states in order, also if one closes the client within %s',
  async within => {
    const { clock, client } = setUp()
    const seen: string[][] = [[], [], []]
    client.state.subscribe(state => seen[0]!.push(state))
    client.state.subscribe(state => state === within && void client.close())
    client.state.subscribe({ next: state => seen[1]!.push(state), complete: () => seen[1]!.push('completed') })
    client.events.subscribe({
      next: event => event.type === 'state' && seen[2]!.push(event.state),
      complete: () => seen[2]!.push('completed'),
    })
    client.topic('orders').subscribe()
    client.start().subscribe()
    clock.runTo(1_000)
    if (within === 'draining') client.closeGracefully()
    clock.runTo(40_000)
    await client.closed
    const states = ['idle', 'starting', 'running', 'draining', 'closed'].filter(
      state => within !== 'starting' || state !== 'running',
    )
    expect(seen[0]).toEqual(states)
    expect(seen[1]).toEqual([...states, 'completed'])
    expect(seen[2]).toEqual([...states.slice(1), 'completed'])
  },
)

it('the next replay may begin within the end of the last one', () => {
  const { clock, client } = setUp()
  client.topic('orders', { dlq: true }).subscribe()
  client.start().subscribe()
  clock.runTo(1_000)
  const ends: unknown[] = []
  const again = { complete: () => ends.push('complete'), error: (error: unknown) => ends.push(error) }
  client.replayDlq().subscribe({ complete: () => client.replayDlq().subscribe(again) })
  clock.runTo(2_000)
  expect(ends).toEqual(['complete'])
})

it('a subscriber of rxmika:receive may unsubscribe the stream: the record waits for the next subscriber', () => {
  const { clock, broker, client } = setUp()
  const errors: RxMikaError[] = []
  const seen: string[] = []
  const subscription = client.topic('orders').subscribe(({ value }) => seen.push(`first ${value}`))
  const topic = client.topic('payments')
  topic.subscribe(record => void record.ack())
  const start = () => subscription.unsubscribe()
  subscribe('tracing:rxmika:receive:start', start)
  client.start().subscribe(error => errors.push(error))
  broker.publish('orders', [{ value: 'a' }])
  clock.runTo(1_000)
  unsubscribe('tracing:rxmika:receive:start', start)
  expect(errors).toEqual([])
  expect(seen).toEqual([])
  expect(client.stalls()).toMatchObject([{ topic: 'orders', offset: 0n, why: 'no-subscriber' }])
})
