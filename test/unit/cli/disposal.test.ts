import { describe, expect, it } from 'vitest'
import type { Context } from '../../../src/cli/context'
import { type Disposal, Disposing } from '../../../src/cli/disposal'
import type { DeadLetterRecord, PendingDeadLetters } from '../../../src/cli/pending-dead-letters'
import { TopicNames } from '../../../src/client/topic-names'
import {
  FencedProducerError,
  type PartitionRecords,
  UnknownCommitError,
} from '../../../src/drivers/kafka/transactions/transactional-producer'

type Write = (group: string, written: readonly PartitionRecords[]) => void

/**
 * Pending dead letters of these groups, as offsets of partition 0; `alsoDone` are completed by others before this command
 * begins.
 */
function world({
  deadLetters,
  write = () => {},
  alsoDone = 0,
}: {
  readonly deadLetters: readonly { readonly group: string; readonly bytes?: number }[]
  readonly write?: Write
  readonly alsoDone?: number
}) {
  const interrupted = new AbortController()
  const written: { readonly group: string; readonly deadLetters: number }[] = []
  const log: string[] = []
  const all = deadLetters.map(({ group, bytes = 1 }, offset): DeadLetterRecord => {
    const record = { partition: 0, offset: BigInt(offset), key: null, value: Buffer.alloc(bytes), headerPairs: [] }
    return { record, offset, deadLetter: { group } } as unknown as DeadLetterRecord
  })
  let done = 0
  const counts = () => {
    const found = new Map<string, number>()
    for (const { deadLetter } of all.slice(done)) found.set(deadLetter.group!, (found.get(deadLetter.group!) ?? 0) + 1)
    return found
  }
  const source = {
    get counts() {
      return counts()
    },
    async learnMore() {
      log.push('learned')
      done = alsoDone
    },
    async *pending() {
      yield* all.slice(done)
    },
  } as unknown as PendingDeadLetters
  const admin = {
    transactional: async (id: string) => {
      const group = id.slice('rxmika-redrive.'.length)
      log.push(`took ${group}`)
      return {
        write: async (records: readonly PartitionRecords[]) => {
          write(group, records)
          const note = JSON.parse(String(records[0]!.records[0]!.value))
          const ranges: [number, number][] = note.ranges
          written.push({ group, deadLetters: ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0) })
        },
        visible: async () => void log.push(`visible ${group}`),
      }
    },
  }
  const context = {
    interrupted: interrupted.signal,
    connection: { admin, names: new TopicNames(''), dlqTopic: 'dlq' },
  } as unknown as Context
  const run = (rate?: number) => {
    const disposal: Disposal = { done: 'discarded', to: undefined, by: 'ada', rate, auditTopic: undefined }
    return new Disposing(context, disposal).run(source, () => {})
  }
  return { run, written, log, interrupted }
}

const of = (...groups: readonly string[]) => groups.map(group => ({ group }))

describe('completing dead letters of several groups', () => {
  it('fences others for every group before it learns what they have done, and ends when all of it is visible', async () => {
    const { run, written, log } = world({ deadLetters: of('a', 'b', 'a') })
    const disposed = await run()
    expect(log).toEqual(['took a', 'took b', 'learned', 'visible a', 'visible b'])
    expect(written).toEqual([
      { group: 'a', deadLetters: 2 },
      { group: 'b', deadLetters: 1 },
    ])
    expect([...disposed]).toEqual([
      ['a', { count: 2, total: 2, takenOver: undefined }],
      ['b', { count: 1, total: 1, takenOver: undefined }],
    ])
  })

  it('leaves out what others have completed meanwhile', async () => {
    const { run } = world({ deadLetters: of('a', 'a', 'b'), alsoDone: 2 })
    expect([...(await run())]).toEqual([
      ['a', { count: 0, total: 2, takenOver: undefined }],
      ['b', { count: 1, total: 1, takenOver: undefined }],
    ])
  })

  it('goes on with the others when one of them is taken over', async () => {
    const taken = new FencedProducerError('taken over', { retriable: false })
    const { run, written } = world({
      deadLetters: of('a', 'b', 'a'),
      write: group => {
        if (group === 'a') throw taken
      },
    })
    expect([...(await run())]).toEqual([
      ['a', { count: 0, total: 2, takenOver: taken }],
      ['b', { count: 1, total: 1, takenOver: undefined }],
    ])
    expect(written).toEqual([{ group: 'b', deadLetters: 1 }])
  })

  it('says how many dead letters are in doubt when a commit was not answered', async () => {
    let writes = 0
    const { run } = world({
      deadLetters: of(...Array.from({ length: 5 }, () => 'a'), 'b'),
      write: () => {
        if (++writes === 2) throw new UnknownCommitError('the answer never came', { retriable: false })
      },
    })
    await expect(run(1_000_000)).rejects.toMatchObject({
      exitCode: 1,
      message:
        '5 of 5 dead letters of group a, 0 of 1 dead letter of group b are discarded, perhaps 1 more, and the rest is untouched: the answer never came',
    })
  })

  it('interrupted, ends between two transactions, and waits until what it has done is visible', async () => {
    const { run, written, log, interrupted } = world({
      deadLetters: of('a', 'a', 'b'),
      write: () => interrupted.abort(new Error('interrupted by SIGINT')),
    })
    await expect(run(8)).rejects.toThrow(
      '2 of 2 dead letters of group a, 0 of 1 dead letter of group b are discarded, and the rest is untouched: interrupted by SIGINT',
    )
    expect(written).toEqual([{ group: 'a', deadLetters: 2 }])
    expect(log.slice(-2)).toEqual(['visible a', 'visible b'])
  })

  it('keeps at most 4 MiB of dead letters, whatever the number of groups, except for a larger one', async () => {
    const mib = 1024 * 1024
    const sizes = [1, 3, 1, 9, 1]
    const deadLetters = sizes.map((size, at) => ({ group: `g${at}`, bytes: size * mib }))
    const order: string[] = []
    const { run } = world({ deadLetters, write: group => order.push(group) })
    await run()
    // There is no room before the third, so the largest is skipped. The one of 9 MiB is in a transaction of its own.
    expect(order).toEqual(['g1', 'g0', 'g2', 'g3', 'g4'])
  })
})
