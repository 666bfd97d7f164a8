import { VirtualTimeScheduler } from 'rxjs'
import { createClient, type RxMikaError, type TopicOptions, UnroutableFailureError } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { KeyFence } from '../../src/client/key-fence'
import { DeliveredRecord } from '../../src/record'
import { FakeOwner, fakeRecord } from '../marbles/fake-record'

const owner = new FakeOwner()

function record(key: Buffer | string, slot: number): DeliveredRecord {
  const { batch } = fakeRecord({ key, offset: slot })
  return new DeliveredRecord(owner, batch, 0, slot, undefined, 0)
}

/** Delivers a record with a new key, and dead-letters it. */
function deadLetter(fence: KeyFence, key: Buffer | string, slot: number): void {
  const dead = record(key, slot)
  fence.enter(dead)
  fence.deadLettered(dead)
  fence.leave(dead)
}

describe('a key fence', () => {
  it('remembers no key whose records are completed', () => {
    const fence = new KeyFence({ afterDeadLetter: 'dead-letter' })
    for (let slot = 0; slot < 1_000; slot++) {
      const one = record(`key ${slot}`, slot)
      expect(fence.enter(one)).toBe(true)
      expect(fence.leave(one)).toBeUndefined()
    }
    expect(fence.size).toBe(0)
  })

  it('remembers a key that was dead-lettered, and only where later records follow it', () => {
    for (const [afterDeadLetter, size] of [
      ['dead-letter', 1_000],
      ['continue', 0],
    ] as const) {
      const fence = new KeyFence({ afterDeadLetter })
      for (let slot = 0; slot < 2_000; slot++) deadLetter(fence, `key ${slot % 1_000}`, slot)
      expect(fence.size).toBe(size)
    }
  })

  it('remembers 100,000 keys by default', () => {
    expect(new KeyFence({ afterDeadLetter: 'dead-letter' }).maxKeys).toBe(100_000)
  })

  it('is full only for further keys than it may remember', () => {
    const maxKeys = 100
    const fence = new KeyFence({ afterDeadLetter: 'dead-letter', maxKeys })
    for (let slot = 0; slot < maxKeys; slot++) {
      expect(fence.isFullFor(record('none out', slot))).toBe(false)
      deadLetter(fence, `key ${slot}`, slot)
    }
    const [known, other] = [record('key 7', maxKeys), record('another', maxKeys + 1)]
    fence.enter(known)
    fence.enter(other)
    expect([fence.isFullFor(known), fence.isFullFor(other)]).toEqual([false, true])
    expect([fence.follows(known), fence.follows(other)]).toEqual([7n, undefined])
  })

  it('does not store long keys, and never confuses two of them', () => {
    const fence = new KeyFence({ afterDeadLetter: 'dead-letter' })
    const [one, two] = [Buffer.alloc(100_000, 'a'), Buffer.alloc(100_001, 'a')]
    deadLetter(fence, one, 0)
    const [same, other] = [record(one, 1), record(two, 2)]
    fence.enter(same)
    fence.enter(other)
    expect([fence.follows(same), fence.follows(other)]).toEqual([0n, undefined])
  })
})

describe("keyFence: { afterDeadLetter: 'dead-letter' } with more dead keys than it may remember", () => {
  it('holds failed records of further keys, reports each, and retries nothing out of order', () => {
    const maxKeys = 100
    const clock = new VirtualTimeScheduler(undefined, 0)
    const broker = memoryBroker({ scheduler: clock, maxBatchRecords: 10 })
    const client = createClient({
      ...{ driver: broker.driver(), group: 'g', dlqTopic: 'dlq', logger: false, env: {} },
      stallAfter: 2 ** 31 - 1,
    })
    const options: TopicOptions = { dlq: true, keyFence: { afterDeadLetter: 'dead-letter', maxKeys } }
    const tried: string[] = []
    client.topic('orders', options).subscribe(record => {
      tried.push(`${record.key}`)
      if (String(record.value) === 'good') record.ack()
      else record.fail('no')
    })
    const errors: RxMikaError[] = []
    client.start().subscribe(error => errors.push(error))
    const dead = Array.from({ length: maxKeys }, (_, at) => ({ key: `key ${at}`, value: 'bad' }))
    broker.publish('orders', dead)
    clock.maxFrames = 1_000
    clock.flush()
    expect([errors, broker.committed('g', 'orders', 0)]).toEqual([[], BigInt(maxKeys)])
    tried.length = 0
    broker.publish('orders', [
      { key: 'one more', value: 'bad' },
      { key: 'one more', value: 'good' },
      { key: 'fine', value: 'good' },
      { key: 'key 7', value: 'good' },
    ])
    clock.maxFrames = 2_000
    clock.flush()
    expect(tried).toEqual(['one more', 'fine'])
    expect(errors).toEqual([expect.any(UnroutableFailureError)])
    expect(errors[0]).toMatchObject({ topic: 'orders', partition: 0, offset: BigInt(maxKeys) })
    expect(errors[0]!.message).toContain(`${maxKeys} keys of orders-0`)
    expect(client.stalls()).toMatchObject([{ offset: BigInt(maxKeys), why: 'unroutable' }])
    expect(
      broker
        .records('dlq')
        .slice(maxKeys)
        .map(({ key }) => String(key)),
    ).toEqual(['key 7'])
    client.close()
    clock.maxFrames = 60_000
    clock.flush()
  })
})
