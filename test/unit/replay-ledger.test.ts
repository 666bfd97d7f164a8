import { createClient, type DlqReplayProgress } from 'rxmika'
import { describe, expect, it } from 'vitest'
import { type LedgerNote, ledgerRecord } from '../../src/retry/dlq-ledger'
import { virtualBroker } from '../virtual-broker'

const values = ['a', 'b', 'c', 'd']

/** Four dead letters on the DLQ topic, notes about some of them after these, and a replay of all. */
function replayed(...notes: readonly Pick<LedgerNote, 'group' | 'partition' | 'ranges'>[]) {
  const { broker, runTo } = virtualBroker()
  broker.createTopic('dlq', 1)
  const client = createClient({
    ...{ driver: broker.driver(), group: 'billing', dlqTopic: 'dlq', logger: false, env: {} },
    stallAfter: 2 ** 31 - 1,
  })
  const delivered: string[] = []
  client.topic('orders', { dlq: true }).subscribe(record => {
    if (record.source.kind === 'topic') return void record.fail('no')
    delivered.push(String(record.value))
    record.ack()
  })
  client.start()
  for (const value of values) broker.publish('orders', { key: 'k', value })
  runTo(1_000)
  for (const note of notes) {
    const { key, value, headers, timestamp } = ledgerRecord({ done: 'redriven', by: 'ada', at: 1, ...note }, 'id')
    broker.publish('dlq', { key, value, headers: Object.fromEntries(headers), timestamp })
  }
  const progress: (DlqReplayProgress | 'done')[] = []
  client.replayDlq().subscribe({ next: each => progress.push(each), complete: () => progress.push('done') })
  runTo(2_000)
  const committed = broker.committed('billing', 'dlq', 0)
  client.close()
  runTo(3_000)
  return { delivered, committed, progress: progress.slice(-2) }
}

describe('a replay skips dead letters', () => {
  it('that the ledger names, and completes them', () => {
    expect(
      replayed({
        group: 'billing',
        partition: 0,
        ranges: [
          [0, 0],
          [2, 2],
        ],
      }),
    ).toEqual({
      delivered: ['b', 'd'],
      committed: 5n,
      // The note itself is skipped too.
      progress: [{ delivered: 2, skipped: 3, remaining: 0 }, 'done'],
    })
  })

  it.each([
    { title: 'another group', note: { group: 'other', partition: 0, ranges: [[0, 3]] } as const },
    { title: 'another partition', note: { group: 'billing', partition: 1, ranges: [[0, 3]] } as const },
  ])('but not those that a note names for $title', ({ note }) => {
    expect(replayed(note).delivered).toEqual(values)
  })
})
