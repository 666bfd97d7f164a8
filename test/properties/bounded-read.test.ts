import fc from 'fast-check'
import { BehaviorSubject } from 'rxjs'
import { createClient, type ReadOptions } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import type { KafkaDriver } from '../../src/drivers/kafka/driver'
import { errorCode } from '../../src/protocol/errors'
import { refusing } from '../fake-broker/asked'
import { Bounded, connectedDriver } from '../fake-broker/bounded'
import type { FakeKafka } from '../fake-broker/fake-kafka'
import { brokers } from '../fake-broker/reading'

const runs = Number(process.env.RXMIKA_HISTORIES ?? 100)

/** What happens to a partition before it is read. */
const history = fc.array(
  fc.oneof(
    fc.record({ what: fc.constant('append' as const), count: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ what: fc.constant('gap' as const), count: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ what: fc.constant('delete' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  ),
  { maxLength: 8 },
)

describe('a bounded read on fake brokers', () => {
  /** Faults during the read. */
  const disturbance = fc.oneof(
    fc.record({ what: fc.constant('leader' as const), partition: fc.nat(2), node: fc.integer({ min: -1, max: 1 }) }),
    fc.record({ what: fc.constant('refuse' as const), times: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ what: fc.constant('cut' as const), times: fc.integer({ min: 1, max: 2 }) }),
    fc.record({ what: fc.constant('pause' as const) }),
    fc.record({ what: fc.constant('append' as const), partition: fc.nat(2) }),
  )

  it('emits every record between its bounds once and in order, whatever happens meanwhile, and completes', async test => {
    const kafka: FakeKafka = await brokers(test, 2)
    const driver: KafkaDriver = await connectedDriver(test, kafka)
    let count = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(history, { minLength: 1, maxLength: 3 }),
        fc.array(disturbance, { maxLength: 5 }),
        fc.option(fc.array(fc.nat(30), { minLength: 3, maxLength: 3 }), { nil: undefined }),
        async (histories, disturbances, positions) => {
          const topic = `topic-${count++}`
          kafka.create(topic, ...histories.map((_, partition) => partition % 2))
          const expected: string[][] = histories.map((steps, partition) => {
            const log = kafka.log(topic, partition)
            const written: { readonly offset: number; readonly last: number; readonly value: string }[] = []
            for (const step of steps) {
              if (step.what === 'gap') log.gap(step.count)
              else if (step.what === 'delete')
                log.deleteBefore(log.start + Math.floor(step.share * (log.end - log.start)))
              else {
                const values = Array.from({ length: step.count }, (_, at) => `${partition}.${log.end + at}`)
                const last = log.end + values.length - 1
                for (const [at, value] of values.entries()) written.push({ offset: log.end + at, last, value })
                log.append(...values)
              }
            }
            const from = Math.max(positions?.[partition] ?? 0, log.start)
            // Batches are deleted as a whole, as segments are.
            const firstOf = (offset: number) => written.find(({ last }) => last === offset)!.offset
            return written
              .filter(({ offset, last }) => offset >= from && firstOf(last) >= log.start)
              .map(({ offset, value }) => `${partition}@${offset} ${value}`)
          })
          const left = [...disturbances]
          const paused = new BehaviorSubject(false)
          const disturb = () => {
            const next = left.shift()
            if (next === undefined) return
            if (next.what === 'refuse') kafka.next('Fetch', refusing(errorCode.NOT_LEADER_OR_FOLLOWER), next.times)
            else if (next.what === 'cut') kafka.next('Fetch', { ending: 'cut' }, next.times)
            else if (next.what === 'pause') {
              paused.next(true)
              setTimeout(() => paused.next(false), 5)
            } else {
              const log = kafka.topics.get(topic)!.logs[next.partition]
              if (log === undefined) return
              if (next.what === 'append') log.append('late')
              else {
                log.leader = next.node
                setTimeout(() => {
                  log.leader = Math.max(log.leader, 0)
                }, 20)
              }
            }
          }
          const from = positions && new Map(histories.map((_, partition) => [partition, positions[partition]!]))
          const read = new Bounded(driver, { topic, from: from ?? 'earliest', paused })
          read.onBatch = disturb
          disturb()
          expect(await read.ended).toEqual({})
          for (const [partition, records] of expected.entries()) {
            const seen = read.records.filter(record => record.startsWith(`${partition}@`) && !record.endsWith('late'))
            expect(seen).toEqual(records)
          }
          expect(new Set(read.records).size).toBe(read.records.length)
          kafka.topics.delete(topic)
        },
      ),
      { numRuns: Math.ceil(runs / 4) },
    )
  })
})

describe('client.read on the memory broker', () => {
  const at = fc.nat(40)
  const options = fc.record(
    {
      from: fc.oneof(
        fc.constant('earliest' as const),
        fc.constant('latest' as const),
        at.map(ms => new Date(1_000 + ms)),
        fc.array(fc.tuple(fc.nat(2), fc.bigInt({ min: 0n, max: 15n }))).map(entries => new Map(entries)),
      ),
      until: fc.oneof(
        fc.constant('caught-up' as const),
        at.map(ms => new Date(1_000 + ms)),
      ),
      partitions: fc.uniqueArray(fc.nat(2)),
    },
    { requiredKeys: [] },
  )

  it('emits exactly the records that its options select, as an Observable and as an iterable', async () => {
    await fc.assert(
      fc.asyncProperty(fc.tuple(history, history, history), options, async (histories, given) => {
        const broker = memoryBroker({ partitions: 3, maxBatchRecords: 3 })
        broker.createTopic('orders', 3)
        const ends: number[] = []
        const starts: number[] = []
        for (const [partition, steps] of histories.entries()) {
          let end = 0
          let start = 0
          for (const step of steps) {
            if (step.what === 'append') {
              const values = Array.from({ length: step.count }, () => end++)
              broker.publish(
                'orders',
                values.map(value => ({ value: `${value}`, partition, timestamp: 1_000 + 2 * value })),
              )
            } else if (step.what === 'gap')
              for (let left = step.count; left > 0; left--, end++) broker.appendMarker('orders', partition)
            else {
              start = Math.max(start, Math.floor(step.share * end))
              broker.deleteBefore('orders', partition, start)
            }
          }
          ends.push(end)
          starts.push(start)
        }
        const { from = 'earliest', until = 'caught-up', partitions = [0, 1, 2] } = given as ReadOptions
        const stored = broker.records('orders')
        /** As ListOffsets returns it: the first record that is not older, or the end. */
        const dated = (partition: number, date: Date) =>
          Number(
            stored.find(record => record.partition === partition && record.timestamp >= +date)?.offset ??
              ends[partition]!,
          )
        const expected = stored.filter(({ partition, offset }) => {
          if (!partitions.includes(partition)) return false
          const end = until instanceof Date ? dated(partition, until) : ends[partition]!
          if (offset >= end) return false
          if (from === 'earliest') return true
          if (from === 'latest') return false
          if (from instanceof Date) return offset >= dated(partition, from)
          const position = from.get(partition)
          return position !== undefined && offset >= position && position <= ends[partition]!
        })
        const place = ({ partition, offset }: { partition: number; offset: bigint }) => `${partition}@${offset}`
        const client = createClient({ driver: broker.driver(), logger: false, env: {} })
        const pushed: string[] = []
        await new Promise<void>((complete, error) =>
          client
            .read('orders', given as ReadOptions)
            .subscribe({ next: record => pushed.push(place(record)), complete, error }),
        )
        const pulled: string[] = []
        for await (const record of client.read('orders', given as ReadOptions)) pulled.push(place(record))
        for (const partition of [0, 1, 2]) {
          const of = (places: readonly string[]) => places.filter(each => each.startsWith(`${partition}@`))
          expect(of(pushed)).toEqual(of(expected.map(place)))
          expect(of(pulled)).toEqual(of(pushed))
        }
        await client.close()
      }),
      { numRuns: runs },
    )
  })
})
