import { randomUUID } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { rangesOf } from '../client/finished-work.js'
import { systemClock } from '../clock.js'
import type { PartitionRecords, TransactionalProducer } from '../drivers/kafka/transactions/transactional-producer.js'
import { partitionOfKey } from '../partitioner.js'
import { partitionName } from '../place.js'
import type { EncodableRecord } from '../protocol/records/record-batch-builder.js'
import { type LedgerNote, ledgerRecord } from '../retry/dlq-ledger.js'
import { needDlqTopic } from './connection.js'
import type { Context } from './context.js'
import { CommandFailure, exitCode } from './failure.js'
import { grouped } from './grouped.js'
import { type Letter, type Letters, noGroup } from './letters.js'
import { originalHeaders, type Redriving, retryHeaders } from './redriven-copy.js'

/** The most letters of one transaction. */
const maxLetters = 1_000
/** The most bytes of keys, values and headers in one transaction, except that a larger letter is in a transaction of its own. */
const maxBytes = 4 * 1024 * 1024
/** With a rate there are so many transactions a second. */
const transactionsPerSecond = 4

/** How letters are completed. */
export interface Disposal {
  readonly done: LedgerNote['done']
  /** Where copies are written; undefined if there are none. */
  readonly to: 'retry' | 'original' | undefined
  readonly by: string
  /** The most letters a second; undefined: no bound. */
  readonly rate: number | undefined
  readonly auditTopic: string | undefined
}

/** The default of `--by`. */
export function userAtHost(): string {
  return `${userName()}@${hostname()}`
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    // In a container, a user may have no name.
    return `uid-${process.getuid?.() ?? 'unknown'}`
  }
}

/**
 * Completes letters of one group, in one transaction after another. A transaction writes their copies, the notes of the ledger
 * and the audit record. If two do so at once for one group, the later one fences the earlier one, and knows what the
 * earlier one has completed.
 */
export class Disposing {
  readonly #counts = new Map<string, number>()
  #turn = 0

  constructor(
    readonly context: Context,
    readonly disposal: Disposal,
    readonly group: string,
  ) {}

  /**
   * Resolves with the number of letters completed. It is less than `total` if others have completed some meanwhile.
   *
   * Rejects with a `CommandFailure` if a transaction fails, or if the user interrupts it: the transactions before stay.
   *
   * @param total How many letters of the group were pending.
   * @param progress Called with the number of letters after each transaction.
   */
  async run(letters: Letters, total: number, progress: (count: number) => void): Promise<number> {
    const { interrupted } = this.context
    const { rate, done } = this.disposal
    let count = 0
    let producer: TransactionalProducer | undefined
    try {
      producer = await this.context.connection.admin.transactional(`rxmika-redrive.${this.group}`)
      // Others that did the same are fenced now, so the ledger has everything that they have completed.
      await letters.learnMore()
      const began = systemClock.monotonic()
      for await (const chunk of chunks(this.#ofGroup(letters), rate)) {
        interrupted.throwIfAborted()
        await this.#transaction(producer, chunk)
        count += chunk.length
        progress(count)
        if (rate !== undefined && count < total) {
          const wait = (count / rate) * 1_000 - (systemClock.monotonic() - began)
          await pause(Math.max(0, wait), undefined, { signal: interrupted })
        }
      }
      // What reads next, a replay or another command, has to see the notes.
      await producer.visible()
      return count
    } catch (error) {
      if (interrupted.aborted) await producer?.visible().catch(() => {})
      const cause = interrupted.aborted ? interrupted.reason : (error as Error)
      const message = `${count} of ${total} letters of group '${this.context.connection.names.user(this.group)}' are ${done}, and the rest is untouched: ${cause.message}`
      throw new CommandFailure(message, exitCode.failed, { cause })
    }
  }

  async *#ofGroup(letters: Letters): AsyncGenerator<Letter, void, undefined> {
    for await (const each of letters.pending()) if ((each.letter.group ?? noGroup) === this.group) yield each
  }

  async #transaction(producer: TransactionalProducer, letters: readonly Letter[]): Promise<void> {
    const { done, auditTopic, by } = this.disposal
    const at = systemClock.wall()
    const written = new Writes()
    for (const letter of letters) {
      if (done === 'redriven') await this.#copy(written, letter, { at, by })
    }
    const notes = this.#notes(letters, at)
    const dlqTopic = this.context.connection.names.full(needDlqTopic(this.context.connection))
    for (const note of notes) {
      written.add(dlqTopic, note.partition, ledgerRecord(note, randomUUID()))
    }
    if (auditTopic !== undefined) {
      const topic = this.context.connection.names.full(auditTopic)
      const value = JSON.stringify({
        command: done === 'redriven' ? 'dlq redrive' : 'dlq discard',
        group: this.group,
        by,
        at: new Date(at).toISOString(),
        dlqTopic,
        letters: notes.flatMap(({ partition, ranges }) =>
          ranges.map(
            ([first, last]) =>
              `${partitionName({ topic: dlqTopic, partition })}@${first === last ? first : `${first}-${last}`}`,
          ),
        ),
        count: letters.length,
      })
      const record = { key: Buffer.from(this.group), value: Buffer.from(value), headers: [], timestamp: at }
      written.add(topic, partitionOfKey(record.key, await this.#partitions(topic)), record)
    }
    await producer.write(written.all)
  }

  async #copy(written: Writes, letter: Letter, redriving: Redriving): Promise<void> {
    const toRetry = this.disposal.to === 'retry'
    const topic = toRetry
      ? this.context.connection.names.full(this.context.connection.retryTopic!)
      : letter.letter.topic
    const count = await this.#partitions(topic)
    const { key, value, timestamp } = letter.record
    const headers = toRetry ? retryHeaders(letter, redriving) : originalHeaders(letter, redriving)
    const partition = key === null ? this.#turn++ % count : partitionOfKey(key, count)
    written.add(topic, partition, { key, value, headers, timestamp })
  }

  #notes(letters: readonly Letter[], at: number): LedgerNote[] {
    const { done, by } = this.disposal
    return [...grouped(letters, ({ record }) => record.partition)].map(([partition, each]) => {
      const offsets = each.map(({ offset }) => offset).sort((a, b) => a - b)
      return { group: this.group, done, partition, ranges: rangesOf(offsets), by, at }
    })
  }

  async #partitions(topic: string): Promise<number> {
    let count = this.#counts.get(topic)
    if (count === undefined) {
      count = await this.context.connection.admin.partitionsOf(topic)
      this.#counts.set(topic, count)
    }
    return count
  }
}

/** The records of a transaction, by partition. */
class Writes {
  readonly #partitions = new Map<string, { topic: string; partition: number; records: EncodableRecord[] }>()

  add(topic: string, partition: number, record: EncodableRecord): void {
    const name = partitionName({ topic, partition })
    const of = this.#partitions.get(name)
    if (of === undefined) this.#partitions.set(name, { topic, partition, records: [record] })
    else of.records.push(record)
  }

  get all(): readonly PartitionRecords[] {
    return [...this.#partitions.values()]
  }
}

/** The letters of each transaction. */
async function* chunks(
  letters: AsyncIterable<Letter>,
  rate: number | undefined,
): AsyncGenerator<readonly Letter[], void, undefined> {
  const limit =
    rate === undefined ? maxLetters : Math.min(maxLetters, Math.max(1, Math.floor(rate / transactionsPerSecond)))
  let chunk: Letter[] = []
  let bytes = 0
  for await (const letter of letters) {
    const size = sizeOf(letter.record)
    if (chunk.length > 0 && bytes + size > maxBytes) {
      yield chunk
      chunk = []
      bytes = 0
    }
    chunk.push(letter)
    bytes += size
    if (chunk.length === limit) {
      yield chunk
      chunk = []
      bytes = 0
    }
  }
  if (chunk.length > 0) yield chunk
}

function sizeOf({ key, value, headerPairs }: Letter['record']): number {
  const headers = headerPairs.reduce((sum, [name, bytes]) => sum + name.length + (bytes?.length ?? 0), 0)
  return (key?.length ?? 0) + (value?.length ?? 0) + headers
}
