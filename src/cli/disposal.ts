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
import { type Connection, needDlqTopic } from './connection.js'
import { CommandFailure, exitCode } from './failure.js'
import { grouped } from './grouped.js'
import type { Letter, Letters } from './letters.js'
import { originalHeaders, type Redriving, retryHeaders } from './redriven-copy.js'

/** The most letters of one transaction, and the most bytes. */
const maxLetters = 500
const maxBytes = 4 * 1024 * 1024

export interface Disposal {
  readonly done: LedgerNote['done']
  readonly to: 'retry' | 'original' | undefined
  readonly by: string
  /** Letters a second; undefined: as fast as it goes. */
  readonly rate: number | undefined
  readonly auditTopic: string | undefined
}

/** Who does it, unless `--by` says so. */
export function whoever(): string {
  return `${userInfo().username}@${hostname()}`
}

/**
 * Deals with letters of one group: their copies, the note in the ledger and the audit record go in one transaction, and the
 * next one follows. Of two that do so at once for one group the later fences the earlier, and knows what that one has done.
 */
export class Disposing {
  readonly #counts = new Map<string, number>()
  #turn = 0

  constructor(
    readonly connection: Connection,
    readonly disposal: Disposal,
    readonly group: string,
  ) {}

  /**
   * Resolves with how many letters were dealt with; those that somebody else has dealt with meanwhile are not counted.
   *
   * @param progress Called with that number after each transaction.
   */
  async run(letters: readonly Letter[], pending: Letters, progress: (count: number) => void): Promise<number> {
    const producer = await this.connection.admin.transactional(`rxmika-redrive.${this.group}`)
    // Whoever did the same at this time is fenced by now.
    const left = await pending.stillPending(letters)
    let count = 0
    const began = systemClock.monotonic()
    for (const chunk of chunks(left, this.disposal.rate)) {
      try {
        await this.#transaction(producer, chunk)
      } catch (error) {
        const message = `${count} of ${left.length} letters of group '${this.group}' are ${this.disposal.done}, and the rest is untouched: ${(error as Error).message}`
        throw new CommandFailure(message, exitCode.failed, { cause: error })
      }
      count += chunk.length
      progress(count)
      const { rate } = this.disposal
      if (rate !== undefined && count < left.length) {
        await pause(Math.max(0, (count / rate) * 1_000 - (systemClock.monotonic() - began)))
      }
    }
    return count
  }

  async #transaction(producer: TransactionalProducer, letters: readonly Letter[]): Promise<void> {
    const { done, auditTopic, by } = this.disposal
    const at = systemClock.wall()
    const written = new Writes()
    for (const letter of letters) {
      if (done === 'redriven') await this.#copy(written, letter, { at, by })
    }
    const notes = this.#notes(letters, at)
    const dlqTopic = this.connection.names.full(needDlqTopic(this.connection))
    for (const note of notes) {
      written.add(dlqTopic, note.partition, ledgerRecord(note, randomUUID()))
    }
    if (auditTopic !== undefined) {
      const topic = this.connection.names.full(auditTopic)
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
    const topic = toRetry ? this.connection.names.full(this.connection.retryTopic!) : letter.letter.topic
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
      count = await this.connection.admin.partitionsOf(topic)
      this.#counts.set(topic, count)
    }
    return count
  }
}

/** What a transaction writes, by partition. */
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

function* chunks(letters: readonly Letter[], rate: number | undefined): Generator<readonly Letter[]> {
  // Four transactions a second are even enough.
  const limit = Math.min(maxLetters, rate === undefined ? maxLetters : Math.max(1, Math.floor(rate / 4)))
  let chunk: Letter[] = []
  let bytes = 0
  for (const letter of letters) {
    const { key, value } = letter.record
    const size = (key?.length ?? 0) + (value?.length ?? 0)
    if (chunk.length > 0 && (chunk.length === limit || bytes + size > maxBytes)) {
      yield chunk
      chunk = []
      bytes = 0
    }
    chunk.push(letter)
    bytes += size
  }
  if (chunk.length > 0) yield chunk
}
