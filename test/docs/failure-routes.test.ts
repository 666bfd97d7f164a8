import * as rxjs from 'rxjs'
import { filter, firstValueFrom, type Observable } from 'rxjs'
import * as rxmika from 'rxmika'
import { type Client, type ClientEvent, type ConsumeRecord, createClient } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, describe, expect, it } from 'vitest'
import { codeBlocks, runBlock } from './code-blocks'

class OutOfStock extends Error {}

const recipes = codeBlocks('docs/failure-routes.md')
const clients: Client[] = []
afterEach(() => Promise.all(clients.splice(0).map(client => client.close())))

/** The recipe in a client, on a broker whose time advances at once when everything waits. */
function play(beginning: string) {
  const broker = memoryBroker()
  const client = createClient({
    driver: broker.driver(),
    group: 'group',
    retryTopic: 'retries',
    dlqTopic: 'dlq',
    logger: false,
  })
  clients.push(client)
  const streams: Observable<ConsumeRecord>[] = []
  const recording = new Proxy(client, {
    get: (target, name) => {
      const member = Reflect.get(target, name, target)
      if (name !== 'topic') return typeof member === 'function' ? member.bind(target) : member
      return (...args: Parameters<Client['topic']>) => {
        const stream = target.topic(...args)
        streams.push(stream)
        return stream
      }
    },
  })
  const soon = { fixed: () => rxmika.fixed(1), exponential: () => rxmika.fixed(1), steps: () => rxmika.fixed(1) }
  const code = recipes.find(recipe => recipe.includes(beginning))!
  runBlock(code, { rxjs, rxmika: { ...rxmika, ...soon } }, { client: recording, OutOfStock, console: { warn() {} } })

  /** The attempts of each record, and its outcome. */
  const told: string[] = []
  client.events.subscribe(event => {
    if (event.type === 'retried' || event.type === 'dead-lettered' || event.type === 'discarded') told.push(event.type)
  })
  const fail = (reason: unknown) => {
    for (const stream of streams) {
      stream.subscribe({
        next: record => {
          told.push(`${record.source.kind} ${record.attempt}`)
          record.fail(reason)
        },
        error: () => {},
      })
    }
  }
  const until = (is: (event: ClientEvent) => boolean) => firstValueFrom(client.events.pipe(filter(is)))
  return { broker, client, told, fail, until }
}

describe('the recipes for failure routes', () => {
  const viaTopic = (retries: number) =>
    Array.from({ length: retries }, (_, at) => [at === 0 ? 'topic 1' : `retry ${at + 1}`, 'retried']).flat()

  it('three retries, then the DLQ', async () => {
    const { broker, client, told, fail, until } = play('steps([1_000')
    fail(new Error('no'))
    broker.publish('orders', { value: 'a' })
    client.start()
    await until(({ type }) => type === 'dead-lettered')
    expect(told).toEqual([...viaTopic(3), 'retry 4', 'dead-lettered'])
  })

  it('in place first, then through the retry topic, then the DLQ', async () => {
    const { broker, client, told, fail, until } = play('redeliver(client, { attempts: 3')
    fail(new Error('no'))
    broker.publish('orders', { value: 'a' })
    client.start()
    await until(({ type }) => type === 'dead-lettered')
    expect(told.filter(what => what === 'retried')).toHaveLength(5)
    expect(told.slice(0, 4)).toEqual(['topic 1', 'topic 2', 'topic 3', 'retried'])
    expect(told.filter(what => /^(topic|retry)/.test(what))).toHaveLength(3 * 6)
  })

  it('different routes for different errors', async () => {
    const { broker, client, told, fail, until } = play('partition(failures')
    fail(new OutOfStock('none left'))
    broker.publish('orders', { value: 'a' })
    client.start()
    await until(({ type }) => type === 'dead-lettered')
    expect(told).toEqual(['topic 1', 'dead-lettered'])

    const other = play('partition(failures')
    other.fail(new Error('no'))
    other.broker.publish('orders', { value: 'a' })
    other.client.start()
    await other.until(({ type }) => type === 'dead-lettered')
    expect(other.told).toEqual([...viaTopic(3), 'retry 4', 'dead-lettered'])
  })

  it('give up on purpose', async () => {
    for (const [recipe, topic, path] of [
      ["client.topic('page-views'", 'page-views', ['topic 1', 'discarded']],
      ['discard, retryTopic', 'thumbnails', [...viaTopic(2), 'retry 3', 'discarded']],
    ] as const) {
      const { broker, client, told, fail, until } = play(recipe)
      fail(new Error('no'))
      broker.publish(topic, { value: 'a' })
      client.start()
      await until(({ type }) => type === 'discarded')
      expect(told).toEqual(path)
      expect(await client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
      expect(broker.committed('group', topic, 0)).toBe(1n)
    }
  })

  it('stop at the first failure', async () => {
    const { broker, client, told, fail } = play('halt(client)')
    fail(new Error('no'))
    broker.publish('ledger', [{ value: 'a' }, { value: 'b' }])
    client.start()
    await client.closed
    expect(told).toEqual(['topic 1'])
    expect(broker.committed('group', 'ledger', 0)).toBeUndefined()
  })
})
