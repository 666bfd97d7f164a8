import { lastValueFrom } from 'rxjs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Producer } from '../../../src/drivers/kafkajs/producer'
import { FakeCluster } from '../../fake-broker/fake-cluster'
import { fakeKafkajs } from '../../fake-broker/fake-kafkajs'
import { produced } from '../../produced'

// Over as much of kafkajs as writing needs: the seam to it is under test here, too.
describe('an acknowledgement is for the record it is given to', () => {
  beforeEach(() => {
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'Date', 'performance'],
    })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it.each([
    ['NOT_ENOUGH_REPLICAS_AFTER_APPEND', 20],
    ['REQUEST_TIMED_OUT', 7],
    ['no answer', 'cut' as const],
  ])('after %s and refusals until the time-out', async (_, answer) => {
    const cluster = new FakeCluster(1, new Map([['t', 1]]))
    const producer = new Producer(fakeKafkajs(cluster))
    const delays: string[] = []
    const produce = (value: string) =>
      produced(producer, [{ topic: 't', value }], ({ error }) => delays.push(error.message))
    const warm = lastValueFrom(produce('warm'))
    await vi.advanceTimersByTimeAsync(1_000)
    await warm
    let attempts = 0
    cluster.fate = () => (attempts++ === 0 ? { append: true, answer } : { append: false, answer: 19 })
    const x = produce('X').subscribe()
    await vi.advanceTimersByTimeAsync(20_000)
    expect(attempts).toBeGreaterThan(10)
    expect(delays.at(-1)).toContain('t-0: NOT_ENOUGH_REPLICAS (19)')
    x.unsubscribe()
    cluster.fate = () => ({ append: true })
    const y = lastValueFrom(produce('Y'))
    await vi.advanceTimersByTimeAsync(20_000)
    expect(await y).toEqual([{ ok: true, topic: 't', partition: 0, offset: 2n }])
    expect(cluster.log('t', 0).values).toEqual(['warm', 'X', 'Y'])
  })
})
