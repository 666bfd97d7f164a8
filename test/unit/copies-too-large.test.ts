import { createClient } from 'rxmika'
import type { StoredRecord } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { virtualBroker } from '../virtual-broker'

const limit = 4_096
const message = 'm'.repeat(5_000)

/** Bytes that gzip cannot compress. */
function random(size: number): Buffer {
  let state = 1
  return Buffer.from(
    Array.from({ length: size }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state >>> 24
    }),
  )
}

/** The names of the library's headers on a copy. */
function headersOf(copy: StoredRecord | undefined): string[] {
  const own = Object.keys(copy?.headers ?? {}).filter(name => name.startsWith('mika_err_billing_'))
  return own.map(name => name.slice('mika_err_billing_'.length)).sort()
}

/** The copies of a record that fails twice, on topics that take 4 KiB. */
function copiesOf(value: Buffer, backoff: number) {
  const { broker, runTo } = virtualBroker()
  broker.createTopic('retry', 1, { maxRecordBytes: limit })
  broker.createTopic('dlq', 1, { maxRecordBytes: limit })
  const client = createClient({
    ...{ driver: broker.driver(), group: 'billing', retryTopic: 'retry', dlqTopic: 'dlq', logger: false, env: {} },
  })
  client.topic('orders', { retries: 1, backoff: () => backoff, dlq: true }).subscribe(record => {
    record.fail(Object.assign(new Error(message), { name: 'ChargeError' }))
  })
  client.start()
  broker.publish('orders', [{ key: 'k', value }])
  runTo(60_000)
  const [[retry], [dead]] = [broker.records('retry'), broker.records('dlq')]
  client.close()
  runTo(120_000)
  expect([retry?.value, dead?.value]).toEqual([value, value])
  return { retry, dead, text: (copy: StoredRecord | undefined) => String(copy?.headers.mika_err_billing_msg) }
}

const place = ['org_offset', 'org_partition', 'org_timestamp', 'org_topic', 'retries']

describe('a copy that the broker finds too large', () => {
  it('loses the stack trace and most of the message first', () => {
    const { retry, dead, text } = copiesOf(random(3_000), 0)
    for (const copy of [retry, dead]) {
      expect(text(copy)).toBe(message.slice(0, 64))
      expect(headersOf(copy)).toEqual(expect.arrayContaining(['error_name', 'failed_at', 'first_failed_at', 'stage']))
      expect(headersOf(copy)).not.toContain('error_stack')
    }
  })

  it('keeps only what its delivery needs then', () => {
    const { retry, dead, text } = copiesOf(random(3_800), 0)
    for (const copy of [retry, dead]) expect(text(copy)).toBe('')
    expect(headersOf(retry)).toEqual([...place, 'msg'].sort())
    expect(headersOf(dead)).toEqual([...place, 'disposition', 'msg'].sort())
  })

  it('keeps the time of its failure too if it has a delay, which counts from it', () => {
    const { retry, dead } = copiesOf(random(3_750), 10)
    expect(headersOf(retry)).toEqual([...place, 'failed_at', 'msg', 'not_before'].sort())
    expect(headersOf(dead)).not.toContain('failed_at')
  })

  it('is compressed at last, with all of it again', () => {
    const { retry, dead, text } = copiesOf(Buffer.alloc(10_000, 'a'), 0)
    for (const copy of [retry, dead]) expect(text(copy)).toBe(message.slice(0, 1_024))
    expect(headersOf(dead)).toContain('error_stack')
  })
})
