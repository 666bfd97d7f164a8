import fc from 'fast-check'
import { createClient } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { expect, it } from 'vitest'
import type { Connection } from '../../src/cli/connection'
import { groupOf, PendingDeadLetters } from '../../src/cli/pending-dead-letters'
import { Selection } from '../../src/cli/selection'
import { rangesOf } from '../../src/client/finished-work'
import { TopicNames } from '../../src/client/topic-names'
import { ledgerRecord } from '../../src/retry/dlq-ledger'

const groups = ['billing', 'mail'] as const
const partitionCount = 3

/** What is written to the DLQ topic: a dead letter of a group, or a note about dead letters of a group that are pending. */
const written = fc.oneof(
  { weight: 3, arbitrary: fc.record({ what: fc.constant('dead letter' as const), group: fc.constantFrom(...groups) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant('note' as const),
      group: fc.constantFrom(...groups),
      // Indexes of the pending dead letters, as shares of their number.
      of: fc.uniqueArray(fc.nat(5), { minLength: 1, maxLength: 4 }),
    }),
  },
)
const history = fc.array(fc.tuple(fc.nat(partitionCount - 1), written), { maxLength: 40 })

interface Place {
  readonly group: string
  readonly partition: number
  readonly offset: number
}

it('finds the dead letters that neither notes nor replays have completed, and reads each record at most twice', async () => {
  await fc.assert(
    fc.asyncProperty(
      history,
      history,
      fc.option(fc.constantFrom(...groups), { nil: undefined }),
      fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined }),
      fc.dictionary(fc.constantFrom(...groups), fc.nat(8)),
      async (before, after, group, limit, replayed) => {
        const broker = memoryBroker({ partitions: partitionCount })
        const client = createClient({ driver: broker.driver(), env: {}, logger: false })
        const log = new Log(broker)
        for (const [partition, each] of before) log.write(partition, each)
        let reads = 0
        const counted = {
          read: async function* (...args: Parameters<typeof client.read>) {
            for await (const record of client.read(...args)) {
              reads++
              yield record
            }
          },
        }
        const positions = (of: string) =>
          Object.hasOwn(replayed, of) ? [{ topic: 'dlq', partition: 0, committed: replayed[of]!, metadata: '' }] : []
        const connection = {
          client: counted,
          admin: { partitionsOf: async () => partitionCount, positions: async (of: string) => positions(of) },
          names: new TopicNames(''),
          dlqTopic: 'dlq',
        } as unknown as Connection
        const isOpen = ({ group: of, partition, offset }: Place) =>
          log.open.has(`${of} ${partition} ${offset}`) && !(partition === 0 && offset < (replayed[of] ?? 0))
        const flags = { ...(group !== undefined && { group }), ...(limit !== undefined && { limit: String(limit) }) }
        const deadLetters = new PendingDeadLetters(connection, new Selection(flags, new TopicNames(''), Date.now()))

        await deadLetters.learn(() => {})
        const first = reads
        expect(first).toBe(log.count)
        const selected = log.deadLetters
          .filter(each => (group === undefined || each.group === group) && isOpen(each))
          .sort((one, other) => one.partition - other.partition || one.offset - other.offset)
          .slice(0, limit)
        expect(await placesOf(deadLetters, true)).toEqual(selected)
        expect(reads - first).toBeLessThanOrEqual(log.count)
        expect([...deadLetters.counts.values()].reduce((sum, count) => sum + count, 0)).toBe(selected.length)

        // Meanwhile other commands complete some of them, and new dead letters arrive that this command does not know.
        for (const [partition, each] of after) log.write(partition, each)
        await deadLetters.learnMore()
        const byPlace = (places: readonly Place[]) => [...places].map(place => JSON.stringify(place)).sort()
        expect(byPlace(await placesOf(deadLetters, false))).toEqual(byPlace(selected.filter(isOpen)))
        await client.close()
      },
    ),
    { numRuns: 60 },
  )
})

async function placesOf(deadLetters: PendingDeadLetters, inOrder: boolean): Promise<Place[]> {
  const places: Place[] = []
  for await (const each of deadLetters.pending(undefined, inOrder)) {
    places.push({ group: groupOf(each), partition: each.record.partition, offset: each.offset })
  }
  return places
}

class Log {
  readonly deadLetters: Place[] = []
  /** Dead letters without a note. */
  readonly open = new Set<string>()
  readonly #ends = Array.from({ length: partitionCount }, () => 0)
  #notes = 0

  constructor(readonly broker: ReturnType<typeof memoryBroker>) {
    // The first record creates the topic. It is not a dead letter.
    broker.publish('dlq', [{ partition: 0, value: 'v' }])
    this.#ends[0] = 1
  }

  get count(): number {
    return this.#ends.reduce((sum, end) => sum + end, 0)
  }

  write(partition: number, each: typeof written extends fc.Arbitrary<infer T> ? T : never): void {
    const offset = this.#ends[partition]!
    if (each.what === 'dead letter') {
      const headers = { [`mika_err_${each.group}_org_topic`]: 'orders', [`mika_err_${each.group}_retries`]: '0' }
      this.broker.publish('dlq', [{ partition, value: 'v', headers }])
      this.deadLetters.push({ group: each.group, partition, offset })
      this.open.add(`${each.group} ${partition} ${offset}`)
    } else {
      const candidates = this.deadLetters.filter(
        place =>
          place.group === each.group &&
          place.partition === partition &&
          this.open.has(`${place.group} ${partition} ${place.offset}`),
      )
      const named = each.of.flatMap(at => candidates[at]?.offset ?? []).sort((one, other) => one - other)
      if (named.length === 0) return
      const note = {
        group: each.group,
        done: 'discarded',
        partition,
        ranges: rangesOf(named),
        by: 'ada',
        at: 0,
      } as const
      const { key, value, headers } = ledgerRecord(note, String(this.#notes++))
      this.broker.publish('dlq', [
        { partition, key, value, headers: Object.fromEntries(headers) as Record<string, Buffer> },
      ])
      for (const at of named) this.open.delete(`${each.group} ${partition} ${at}`)
    }
    this.#ends[partition] = offset + 1
  }
}
