import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { type ConsumeRecord, createClient, type HeaderPair, type RxMikaError, UnroutableFailureError } from 'rxmika'
import type { StoredRecord, TopicConfig } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { GroupHeaders } from '../../src/retry/headers'
import { virtualBroker } from '../virtual-broker'
import { anyRecord } from './any-record'

const billing = new GroupHeaders('billing')
const hour = 3_600_000
const limit = 4_096

/** A record that its own topic accepts, whatever the topics of its copies refuse. */
interface Planned {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly HeaderPair[]
  readonly timestamp: number
  /** The length of the failure's message. */
  readonly message: number
}

/** Relative to the time of the test, which begins at 10 days. */
const now = 240 * hour

const timestamp = fc.oneof(
  fc.constantFrom(-1, 0, 1, -hour, -(2 ** 40), now, now + hour - 1, now + 2 * hour, now * 1_000),
  fc.constantFrom(Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER),
  fc.integer({ min: -(2 ** 52), max: 2 ** 52 }),
)

/** Bytes that gzip cannot compress, and bytes that it compresses to very few. */
const large = fc
  .tuple(fc.integer({ min: limit - 1_200, max: limit + 200 }), fc.boolean(), fc.nat())
  .map(([size, isRandom, seed]) => {
    let state = seed
    return Buffer.from(
      Array.from({ length: size }, () => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
        return isRandom ? state >>> 24 : 0x61
      }),
    )
  })

const plan: fc.Arbitrary<Planned> = fc
  .tuple(anyRecord, timestamp, fc.option(large, { freq: 3 }), fc.constantFrom(0, 5, 200, 5_000))
  .map(([record, timestamp, value, message]) => ({
    ...record,
    timestamp,
    message,
    value: value ?? record.value?.subarray(0, 1_000) ?? null,
  }))

const configs: fc.Arbitrary<TopicConfig> = fc.record({
  maxRecordBytes: fc.constantFrom(limit, limit, limit + 200, 10 * limit),
  timestampAfterMax: fc.constantFrom(hour, 3 * hour, Number.POSITIVE_INFINITY),
  timestampBeforeMax: fc.constantFrom(hour, 1_000 * hour, Number.POSITIVE_INFINITY),
  compacted: fc.boolean(),
})

function play(records: readonly Planned[], retry: TopicConfig, dlq: TopicConfig, backoff: number) {
  const { broker, runTo } = virtualBroker()
  runTo(now)
  broker.createTopic('retry', 1, retry)
  broker.createTopic('dlq', 1, dlq)
  const client = createClient({
    ...{ driver: broker.driver(), group: 'billing', retryTopic: 'retry', dlqTopic: 'dlq', logger: false, env: {} },
    stallAfter: 2 ** 31 - 1,
  })
  const seen: ConsumeRecord[] = []
  client.topic('orders', { retries: 1, backoff: () => backoff, dlq: true }).subscribe(record => {
    if (record.attempt === 2) seen.push(record)
    const at = record.offset
    record.fail(Object.assign(new Error('m'.repeat(records[Number(at)]!.message)), { name: 'ChargeError' }))
  })
  const errors: RxMikaError[] = []
  client.start().subscribe(error => errors.push(error))
  broker.publish(
    'orders',
    records.map(({ key, value, headers, timestamp }) => ({ key, value, headers, timestamp })),
  )
  runTo(now + hour)
  return { broker, client, errors, seen, runTo }
}

const header = ({ headers }: StoredRecord, name: string) => headers[`mika_err_billing_${name}`]?.toString()
const foreign = ({ headerPairs }: StoredRecord) => headerPairs.filter(([name]) => !billing.isOwn(name))

/** As text, because comparing bytes is slow. */
function legible(key: Buffer | null, value: Buffer | null, headers: readonly HeaderPair[]): unknown {
  const text = (bytes: Buffer | null) => bytes?.toString('latin1')
  return [text(key), text(value), headers.map(([name, content]) => [name, text(content)])]
}

/** The bounds of the size of a record's smallest copy, whose own headers vary a little. */
function isBetween(record: Planned, isDead: boolean): { readonly least: number; readonly most: number } {
  const parts = [record.key, record.value, ...record.headers.flat()].filter(part => part !== null)
  const size = parts.reduce((sum, part) => sum + Buffer.byteLength(part), 0)
  const own = (isDead ? 260 : 400) + 80
  const zipped = gzipSync(Buffer.concat(parts.map(part => Buffer.from(part as string)))).length
  return { least: Math.min(size, zipped), most: Math.min(size, zipped + 50) + own }
}

describe('a record that Kafka accepted', () => {
  it('is retried and dead-lettered, or unroutable if no possible copy is accepted', () => {
    fc.assert(
      fc.property(
        fc.array(plan, { minLength: 1, maxLength: 6 }),
        configs,
        configs,
        fc.constantFrom(0, 10),
        (records, retry, dlq, backoff) => {
          const { broker, client, errors, seen, runTo } = play(records, retry, dlq, backoff)
          const held = errors.filter(error => error instanceof UnroutableFailureError)
          const copies = { retry: broker.records('retry'), dlq: broker.records('dlq') }
          const keyless = (record: Planned, config: TopicConfig) => config.compacted === true && record.key === null
          records.forEach((record, at) => {
            const of = (copy: StoredRecord) => header(copy, 'org_offset') === String(at)
            const [retries, dead] = [copies.retry.filter(of), copies.dlq.filter(of)]
            for (const [topic, config, list] of [
              ['retry', retry, retries],
              ['dlq', dlq, dead],
            ] as const) {
              const { least, most } = isBetween(record, topic === 'dlq')
              // There is one copy, unless the key is missing or the copy is too large even in its smallest form.
              if (keyless(record, config) || least > config.maxRecordBytes!) expect(list).toHaveLength(0)
              else if (most <= config.maxRecordBytes!) expect(list).toHaveLength(1)
              for (const copy of list) {
                expect(legible(copy.key, copy.value, foreign(copy))).toEqual(
                  legible(record.key, record.value, record.headers),
                )
                expect(header(copy, 'org_timestamp')).toBe(String(record.timestamp))
                // The copy has the record's timestamp if the topic accepts that, and the present time otherwise.
                const ahead = record.timestamp === -1 ? 0 : record.timestamp - now
                const taken = ahead <= config.timestampAfterMax! - 20 && -ahead <= config.timestampBeforeMax! - 20
                const stamp = copy.timestamp === record.timestamp ? 'its own' : 'the present'
                if (taken) expect(stamp).toBe('its own')
                if (stamp === 'the present') expect(Math.abs(copy.timestamp - now)).toBeLessThan(20)
              }
            }
            const again = seen.filter(({ offset }) => offset === BigInt(at))
            expect(again.map(({ timestamp }) => timestamp)).toEqual(retries.map(() => record.timestamp))
            // Every record is dead-lettered, or held once, at the place where it was read last.
            const place = retries.length > 0 ? { topic: 'retry' } : { topic: 'orders', offset: BigInt(at) }
            const own = held.filter(
              error => error.topic === place.topic && (place.offset ?? error.offset) === error.offset,
            )
            if (dead.length === 0) expect(own.length).toBeGreaterThan(0)
          })
          expect(copies.dlq.length + held.length).toBe(records.length)
          for (const error of held) expect(error.message).toMatch(/MESSAGE_TOO_LARGE|INVALID_RECORD/)
          client.close()
          runTo(now + 2 * hour)
        },
      ),
      { numRuns: Number(process.env.RXMIKA_HISTORIES ?? 40) },
    )
  })
})
