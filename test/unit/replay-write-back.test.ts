import { gzipSync } from 'node:zlib'
import { createClient, type DlqReplayProgress, type RxMikaError } from 'rxmika'
import type { TopicConfig } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { virtualBroker } from '../virtual-broker'

const hour = 3_600_000

/** A dead letter with this value, and a replay that skips it ten hours later. */
function leaveOut(dlq: TopicConfig, value: Buffer) {
  const { broker, runTo } = virtualBroker()
  broker.createTopic('dlq', 1, dlq)
  const client = createClient({
    ...{ driver: broker.driver(), group: 'billing', dlqTopic: 'dlq', logger: false, env: {} },
    stallAfter: 2 ** 31 - 1,
  })
  const errors: RxMikaError[] = []
  client.topic('orders', { dlq: true }).subscribe(record => record.fail('no'))
  client.start().subscribe(error => errors.push(error))
  broker.publish('orders', { key: 'k', value, headers: { a: 'b' }, timestamp: 10 })
  runTo(1_000)
  runTo(10 * hour)
  const progress: (DlqReplayProgress | 'done')[] = []
  client.replayDlq({ filter: () => false }).subscribe({
    next: each => progress.push(each),
    complete: () => progress.push('done'),
  })
  runTo(10 * hour + 1_000)
  client.close()
  runTo(11 * hour)
  return { letters: broker.records('dlq'), errors, progress }
}

describe('a dead letter that a replay leaves out', () => {
  it('is written back with the present time if its topic refuses its own', () => {
    const { letters, errors, progress } = leaveOut({ timestampBeforeMax: hour }, Buffer.from('v'))
    expect(errors).toEqual([])
    expect(progress.slice(-2)).toEqual([{ delivered: 0, skipped: 1, remaining: 0 }, 'done'])
    const [first, again] = letters
    expect([first!.timestamp, again!.timestamp >= 10 * hour]).toEqual([10, true])
    expect(again!.headerPairs).toEqual(first!.headerPairs)
    expect(String(again!.headers.mika_err_billing_org_timestamp)).toBe('10')
  })

  it('is written back compressed if its topic refuses it otherwise', () => {
    const value = Buffer.alloc(10_000, 'text ')
    const { letters, errors, progress } = leaveOut({ maxRecordBytes: gzipSync(value).length + 5_000 }, value)
    expect(errors).toEqual([])
    expect(progress.at(-1)).toBe('done')
    expect(letters.map(letter => letter.value?.equals(value))).toEqual([true, true])
  })
})
