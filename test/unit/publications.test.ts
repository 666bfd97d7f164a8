import { EMPTY, lastValueFrom, merge, NEVER, retry } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { noClient } from '../../src/channels.js'
import { Publications, type PublicationsHost } from '../../src/client/publications.js'
import { Publisher } from '../../src/client/publisher.js'
import { TopicNames } from '../../src/client/topic-names.js'
import { type Clock as Clocks, clockOf } from '../../src/clock.js'
import { createClient, type Outgoing, PublishError } from '../../src/index.js'
import { memoryBroker } from '../../src/testing/index.js'
import { Clock } from './clock.js'
import { leftPerCycle } from './memory/heap.js'

const record = { topic: 'copies', value: 'x' }

function publications(scheduler: Clock, options: Partial<PublicationsHost> & { readonly sent?: Outgoing[] } = {}) {
  const clock: Clocks = clockOf({ scheduler })
  return new Publications({
    publisher: new Publisher({ produce: outgoing => options.sent?.push(outgoing) }, scheduler),
    names: new TopicNames(''),
    identity: noClient,
    clock,
    unreachable: () => undefined,
    connected: EMPTY,
    ended: () => {},
    ...options,
  })
}

describe('the time-out of publish', () => {
  it('has one timer, even if a caller publishes again within its error', () => {
    const clock = new Clock()
    const open = publications(clock)
    const caller = open
      .publish([record], 1000)
      .pipe(retry({ count: 20 }))
      .subscribe({ error: () => {} })
    clock.runTo(10_500)
    expect(clock.actions.filter(({ closed }) => !closed)).toHaveLength(1)
    caller.unsubscribe()
    expect(clock.actions.filter(({ closed }) => !closed)).toEqual([])
    expect(open.open).toBe(0)
  })

  it('has the last reason of the driver', () => {
    const clock = new Clock()
    const sent: Outgoing[] = []
    const errors: PublishError[] = []
    publications(clock, { sent, unreachable: () => new Error('connect ECONNREFUSED 10.0.0.1:9092') })
      .publish([record], 1000)
      .subscribe({ error: error => errors.push(error) })
    const reason = (why: string) => new PublishError(why, { retriable: true })
    sent[0]!.delayed(reason('NOT_ENOUGH_REPLICAS (19)'), true)
    const last = reason('REQUEST_TIMED_OUT (7)')
    sent[0]!.delayed(last, true)
    clock.runTo(1000)
    expect(errors[0]).toMatchObject({ code: 'RXMIKA_PUBLISH', retriable: true, topic: 'copies', cause: last })
    expect(errors[0]!.message).toBe('publishing to copies was not acknowledged within 1000 ms: REQUEST_TIMED_OUT (7)')
    expect(sent[0]!.wanted).toBe(false)
  })

  it('has the reason of the connection if it was never established', () => {
    const clock = new Clock()
    const errors: PublishError[] = []
    const cause = new Error('getaddrinfo ENOTFOUND no-such-host.invalid')
    publications(clock, { connected: NEVER, unreachable: () => cause })
      .publish([record], 1000)
      .subscribe({ error: error => errors.push(error) })
    clock.runTo(1000)
    expect(errors[0]).toMatchObject({ cause })
    expect(errors[0]!.message).toContain('no-such-host.invalid')
  })

  it('reports that no reason is known', () => {
    const clock = new Clock()
    const errors: PublishError[] = []
    publications(clock)
      .publish([record], 1000)
      .subscribe({ error: error => errors.push(error) })
    clock.runTo(1000)
    expect(errors[0]!.message).toBe('publishing to copies was not acknowledged within 1000 ms: no broker has answered')
  })
})

describe('a refusal', () => {
  const reason = 'MESSAGE_TOO_LARGE'
  const error = new PublishError(`${reason} (10)`, {
    retriable: false,
    topic: 'copies',
    reason,
    cause: new Error('why'),
  })

  it.each([
    [3, 'publish: record 1: MESSAGE_TOO_LARGE (10)'],
    [1, 'MESSAGE_TOO_LARGE (10)'],
  ])('of one of %i records names it by its index', (count, message) => {
    const sent: Outgoing[] = []
    const errors: PublishError[] = []
    publications(new Clock(), { sent })
      .publish(new Array(count).fill(record), 1000)
      .subscribe({ error: error => errors.push(error) })
    sent[Math.min(1, count - 1)]!.settle({ ok: false, error })
    expect(errors).toMatchObject([{ message, retriable: false, topic: 'copies', reason, cause: error.cause }])
  })
})

describe('the memory of publish', () => {
  it('keeps nothing of ended calls with different time-outs', async () => {
    const broker = memoryBroker()
    const client = createClient({ driver: broker.driver(), env: {}, logger: false })
    const calls = 500
    // A call that is kept takes 250 bytes.
    const enough = calls * 100
    const left = await leftPerCycle(4, enough, async cycle => {
      const timeouts = Array.from({ length: calls }, (_, at) => 30_000 + (cycle * calls + at) / 7)
      await lastValueFrom(merge(...timeouts.map(timeout => client.publish({ topic: 't', value: null }, { timeout }))))
      broker.deleteBefore('t', 0, 1e9)
    })
    await client.close()
    expect(left).toBeLessThan(enough)
  })
})
