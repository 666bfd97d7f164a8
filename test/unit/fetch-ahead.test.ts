import type { DriverEvent, RecordBatch } from 'rxmika'
import { describe, expect, it } from 'vitest'
import { Assignment } from '../../src/drivers/kafkajs/assignment'
import type { FetchRequest, FetchResponse } from '../../src/drivers/kafkajs/kafkajs-internals'
import { Reader, type ReaderHost } from '../../src/drivers/kafkajs/reader'

const end = 1_000
const size = 20

/** A reader of one partition with records up to `end`, of which the broker gives `size` at a time, in batches of ten. */
function setUp() {
  const assignment = new Assignment('orders', 0, 0, '')
  assignment.paused = false
  const asked: number[] = []
  const delivered: number[] = []
  const host = {
    held: new Map([['orders-0', assignment]]),
    delivering: true,
    startFrom: 'earliest' as const,
    cluster: undefined as never,
    onBatch: (_: number): void => {},
    emit(event: DriverEvent) {
      if (event.type !== 'batch') return
      for (let at = event.from; at < event.batch.count; at++) delivered.push(event.batch.offset(at))
      this.onBatch(event.batch.offset(0))
    },
    fail: () => {},
  }
  const reader = new Reader(host satisfies ReaderHost, (_, offset) =>
    [offset, offset + size / 2].map(first => ({ batch: batchAt(first), from: 0 })),
  )
  const read = reader.of(async ({ topics }: FetchRequest): Promise<FetchResponse> => {
    const from = Number(topics[0]!.partitions[0]!.fetchOffset)
    asked.push(from)
    const messages = [{ offset: String(from + size - 1) }]
    const partition = { partition: 0, highWatermark: String(end), messages }
    return { responses: [{ topicName: 'orders', partitions: [partition] }] }
  })
  const fetch = () =>
    read({
      maxWaitTime: 1,
      topics: [{ topic: 'orders', partitions: [{ partition: 0, maxBytes: 1, fetchOffset: '0' }] }],
    })
  return { assignment, asked, delivered, host, fetch }
}

function batchAt(first: number): RecordBatch {
  return { count: size / 2, lastOffset: first + size / 2 - 1, offset: (at: number) => first + at } as RecordBatch
}

const upTo = (count: number) => Array.from({ length: count }, (_, at) => at)

describe('a reader', () => {
  it('asks for what comes next before it delivers what came', async () => {
    const { asked, delivered, host, fetch } = setUp()
    const askedWhen: number[][] = []
    host.onBatch = () => askedWhen.push([...asked])
    await fetch()
    expect(delivered).toEqual(upTo(size))
    expect(askedWhen[0]).toEqual([0, size])
    while (delivered.length < end) await fetch()
    expect(delivered).toEqual(upTo(end))
    expect(new Set(asked).size).toBe(asked.length)
  })

  it('asks again for what was not delivered, and not for all behind it first', async () => {
    const { asked, delivered, host, fetch } = setUp()
    // In the middle of an answer the group is in doubt, and after it no longer.
    host.onBatch = () => {
      host.delivering = false
    }
    await fetch()
    host.onBatch = () => {}
    host.delivering = true
    while (delivered.length < 10 * size) await fetch()
    expect(delivered).toEqual(upTo(delivered.length))
    expect(asked.slice(0, 3)).toEqual([0, size, size / 2])
  })

  it('delivers nothing of what was asked for ahead of a jump', async () => {
    const { assignment, delivered, fetch } = setUp()
    await fetch()
    assignment.move(100)
    await fetch()
    await fetch()
    expect(delivered.slice(size)).toEqual(upTo(size).map(at => 100 + at))
  })

  it.each([
    { partitions: 1, each: 1_024 },
    { partitions: 4, each: 1_024 },
    { partitions: 16, each: 256 },
    { partitions: 1_000, each: 64 },
  ])('shares some 4 MiB an answer among $partitions partitions: $each KiB each', async ({ partitions, each }) => {
    const numbers = Array.from({ length: partitions }, (_, at) => at)
    const held = new Map(
      numbers.map(at => {
        const assignment = new Assignment('orders', at, 0, '')
        assignment.paused = false
        return [`orders-${at}`, assignment]
      }),
    )
    const host: ReaderHost = {
      held,
      delivering: true,
      startFrom: 'earliest',
      cluster: undefined as never,
      emit: () => {},
      fail: () => {},
    }
    const asked: FetchRequest[] = []
    const read = new Reader(host, () => []).of(async request => {
      asked.push(request)
      return { responses: [] }
    })
    const all = numbers.map(partition => ({ partition, maxBytes: 1, fetchOffset: '0' }))
    await read({ maxWaitTime: 1, topics: [{ topic: 'orders', partitions: all }] })
    const bytes = asked.flatMap(({ topics }) =>
      topics.flatMap(topic => topic.partitions.map(({ maxBytes }) => maxBytes)),
    )
    expect(bytes).toEqual(numbers.map(() => each * 1_024))
  })
})
