import fc from 'fast-check'
import { VirtualTimeScheduler } from 'rxjs'
import { type ConsumeRecord, createClient, type HeaderPair, type RxMikaError } from 'rxmika'
import { type MemoryBroker, memoryBroker, type StoredRecord } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { GroupHeaders } from '../../src/retry/headers.js'
import { type AnyRecord, anyRecord, hostileOwn } from './any-record.js'

const billing = new GroupHeaders('billing')

/** A client on its own broker, and what happened to each record. */
function setUp(handle: (record: ConsumeRecord) => unknown) {
  const clock = new VirtualTimeScheduler(undefined, 0)
  const broker = memoryBroker({ scheduler: clock })
  const client = createClient({
    ...{ driver: broker.driver(), group: 'billing', retryTopic: 'retry', dlqTopic: 'dlq', logger: false },
    stallAfter: 2 ** 31 - 1,
  })
  const seen: (AnyRecord & { readonly kind: string })[] = []
  const errors: RxMikaError[] = []
  const runTo = (frame: number) => {
    clock.maxFrames = frame
    clock.flush()
    clock.frame = frame
  }
  const start = () => {
    client.topic('orders', { retries: 1, dlq: true }).subscribe(record => {
      const { key, value, timestamp, source } = record
      seen.push({ key, value, timestamp, kind: source.kind, headers: Object.entries(record.headers) as HeaderPair[] })
      handle(record)
    })
    client.start().subscribe(error => errors.push(error))
  }
  return { broker, client, seen, errors, runTo, start, close: () => client.close() }
}

/** The parts that a copy must keep. */
function bytes({ key, value, timestamp, headerPairs }: StoredRecord): AnyRecord {
  return { key, value, timestamp, headers: headerPairs.filter(([name]) => !billing.isOwn(name)) }
}

const stored = (broker: MemoryBroker, topic: string) => broker.records(topic).map(bytes)

/** Bytes as latin1 text, because comparing them byte by byte takes most of this file's time. */
function legible<T>(part: T): unknown {
  if (Buffer.isBuffer(part)) return part.toString('latin1')
  if (Array.isArray(part)) return part.map(legible)
  if (typeof part !== 'object' || part === null) return part
  return Object.fromEntries(Object.entries(part).map(([name, value]) => [name, legible(value)]))
}

/** The order of copies is not promised. */
const sorted = <T extends AnyRecord>(records: readonly T[]): readonly T[] =>
  [...records].sort((one, other) => one.timestamp - other.timestamp)

/** With unique timestamps, by which they are identified and ordered. */
const records = fc
  .uniqueArray(anyRecord, { minLength: 1, maxLength: 12, selector: ({ timestamp }) => timestamp })
  .map(sorted)

describe('a record', () => {
  it('keeps its bytes and headers through retry, DLQ and replay', () => {
    fc.assert(
      fc.property(records, published => {
        const { broker, client, seen, errors, runTo, start, close } = setUp(record =>
          record.source.kind === 'dlq' ? record.ack() : record.fail(new Error('no')),
        )
        broker.publish('orders', published)
        start()
        runTo(1_000)
        client.replayDlq().subscribe()
        runTo(2_000)
        expect(errors).toEqual([])
        for (const topic of ['orders', 'retry', 'dlq']) {
          expect(legible(sorted(stored(broker, topic)))).toEqual(legible(published))
        }
        const shown = published.map(({ headers, ...record }) => ({ ...record, headers: inKafkajsShape(headers) }))
        for (const kind of ['topic', 'retry', 'dlq']) {
          const ofKind = sorted(seen.filter(record => record.kind === kind))
          expect(legible(ofKind)).toEqual(legible(shown.map(each => ({ ...each, kind }))))
        }
        for (const topic of ['orders', 'retry', 'dlq']) {
          expect(broker.committed('billing', topic, 0)).toBe(BigInt(published.length))
        }
        close()
        runTo(3_000)
      }),
    )
  })

  it("keeps every header if a replay's filter leaves it out", () => {
    fc.assert(
      fc.property(records, published => {
        const { broker, client, errors, runTo, start, close } = setUp(record => record.fail(new Error('no')))
        broker.publish('orders', published)
        start()
        runTo(1_000)
        const before = broker.records('dlq')
        client.replayDlq({ filter: () => false }).subscribe()
        runTo(2_000)
        expect(errors).toEqual([])
        const whole = (list: StoredRecord[]) => legible(list.map(({ offset: _, headers: __, ...record }) => record))
        expect(whole(broker.records('dlq').slice(before.length))).toEqual(whole(before))
        close()
        runTo(3_000)
      }),
    )
  })
})

describe('headers of this group that this group has not written', () => {
  /** Copies with headers from outside, and the expected outcome of each. */
  const hostile = fc.uniqueArray(fc.tuple(anyRecord, hostileOwn('billing')), {
    ...{ minLength: 1, maxLength: 12 },
    selector: ([{ timestamp }]) => timestamp,
  })

  for (const topic of ['retry', 'dlq']) {
    it(`never block the ${topic} topic: a record is delivered, dead-lettered or skipped`, () => {
      fc.assert(
        fc.property(hostile, list => {
          const { broker, client, seen, errors, runTo, start, close } = setUp(record => record.ack())
          const good: HeaderPair[] = [['mika_err_billing_org_topic', Buffer.from('orders')]]
          const published = [
            ...list.map(([record, own]) => ({ ...record, headers: [...record.headers, ...own] })),
            // With a unique timestamp.
            { key: null, value: Buffer.from('good'), headers: good, timestamp: 2 ** 41 + 1 },
          ]
          broker.publish(topic, published)
          start()
          runTo(1_000)
          if (topic === 'dlq') client.replayDlq().subscribe()
          // Long enough for any delay that a header can ask for.
          runTo(2 ** 31 + 10_000)

          expect(errors).toEqual([])
          expect(client.currentState).toBe('running')
          expect(client.stalls()).toEqual([])
          expect(broker.committed('billing', topic, 0)).toBe(BigInt(published.length))
          const at = { kind: 'retry' as const, partition: 0, offset: 0, timestamp: 0 }
          const fates = published.map(({ headers, timestamp }) => {
            const read = billing.read(headers, at)
            if (read.kind === 'foreign') return `${timestamp} skipped`
            if (read.kind === 'malformed') return `${timestamp} malformed`
            return read.origin.topic === 'orders' ? `${timestamp} delivered` : `${timestamp} no-consumer`
          })
          const dead = broker.records('dlq').slice(topic === 'dlq' ? published.length : 0)
          const header = ({ headers }: StoredRecord, name: string) => String(headers[`mika_err_billing_${name}`])
          for (const record of dead.filter(copy => header(copy, 'disposition') === 'malformed')) {
            expect(header(record, 'retries')).toBe('0')
          }
          // Compared by value and key, because a header may give a delivered record another timestamp.
          const delivered = seen.map(({ value, key }) => `${value} ${key}`)
          const due = published.filter((_, index) => fates[index]!.endsWith('delivered'))
          expect(delivered.sort()).toEqual(due.map(({ value, key }) => `${value} ${key}`).sort())
          expect(dead.map(copy => `${header(copy, 'disposition')}`).sort()).toEqual(
            fates
              .map(fate => fate.split(' ')[1]!)
              .filter(fate => fate === 'malformed' || fate === 'no-consumer')
              .sort(),
          )
          // Not by timestamp, because a header may give a record the timestamp of another one.
          const contents = published.map(({ key, value }) => JSON.stringify([key, value]))
          for (const { key, value } of dead) expect(contents).toContain(JSON.stringify([key, value]))
          // No copy is malformed again.
          for (const copy of dead) expect(billing.read(copy.headerPairs, at).kind).toBe('own')
          close()
          runTo(2 ** 31 + 20_000)
        }),
      )
    })
  }
})

function inKafkajsShape(pairs: readonly HeaderPair[]): unknown {
  const headers: Record<string, unknown> = Object.create(null)
  for (const [name, value] of pairs) {
    const before = headers[name]
    headers[name] = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value]
  }
  return Object.entries(headers)
}
