import { randomUUID } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { rangesOf } from '../client/finished-work.js'
import { systemClock } from '../clock.js'
import {
  FencedProducerError,
  type PartitionRecords,
  type TransactionalProducer,
  UnknownCommitError,
} from '../drivers/kafka/transactions/transactional-producer.js'
import { partitionOfKey } from '../partitioner.js'
import { partitionName } from '../place.js'
import type { EncodableRecord } from '../protocol/records/record-batch-builder.js'
import { type LedgerNote, ledgerRecord } from '../retry/dlq-ledger.js'
import { needDlqTopic } from './connection.js'
import type { Context } from './context.js'
import { deadLettersText, ofGroup } from './dead-letters-text.js'
import { CommandFailure, exitCode } from './failure.js'
import { grouped } from './grouped.js'
import { type DeadLetterRecord, groupOf, type PendingDeadLetters } from './pending-dead-letters.js'
import { originalHeaders, type Redriving, retryHeaders } from './redriven-copy.js'

/** The maximum number of dead letters in one transaction. */
const maxDeadLetters = 1_000
/**
 * The maximum of bytes of keys, values and headers that are held for transactions. A larger dead letter has a transaction of
 * its own.
 */
const maxBytes = 4 * 1024 * 1024
/** The number of transactions per second, if there is a rate. */
const transactionsPerSecond = 4

/** How dead letters are completed. */
export interface Disposal {
  readonly done: LedgerNote['done']
  /** Where copies are written; undefined if there are none. */
  readonly to: 'retry' | 'original' | undefined
  readonly by: string
  /** The maximum number of dead letters per second; undefined: unlimited. */
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

/** The outcome for the dead letters of a group. */
export interface Disposed {
  /** How many this command has completed. */
  readonly count: number
  /** How many were pending when it began. */
  readonly total: number
  /** Set if another command has taken over the group: the rest is left to it. */
  readonly takenOver: FencedProducerError | undefined
}

/**
 * Completes dead letters, in one transaction after another. A transaction is of one group. It writes the copies, the notes of
 * the ledger and the audit record. If two do so at once for a group, the later one fences the earlier one, and knows what the
 * earlier one has completed.
 */
export class Disposing {
  /** The number of partitions, by topic. */
  readonly #partitionCounts = new Map<string, number>()
  readonly #counts = new Map<string, number>()
  readonly #takenOver = new Map<string, FencedProducerError>()
  #turn = 0

  constructor(
    readonly context: Context,
    readonly disposal: Disposal,
  ) {}

  /**
   * Completes the pending dead letters. Resolves with the outcome by group.
   *
   * Rejects with a `CommandFailure` if a transaction fails, or if the user interrupts it. Earlier transactions stay committed.
   *
   * @param progress Called with the number of dead letters after each transaction.
   */
  async run(
    deadLetters: PendingDeadLetters,
    progress: (count: number) => void,
  ): Promise<ReadonlyMap<string, Disposed>> {
    const { interrupted, connection } = this.context
    const totals = deadLetters.counts
    const producers = new Map<string, TransactionalProducer>()
    const visible = () => Promise.all([...producers.values()].map(producer => producer.visible()))
    let inDoubt = 0
    try {
      for (const group of totals.keys()) {
        producers.set(group, await connection.admin.transactional(`rxmika-redrive.${group}`))
      }
      // Others that did the same are fenced now, so the ledger has everything that they have completed.
      await deadLetters.learnMore()
      const pending = [...deadLetters.counts.values()].reduce((sum, count) => sum + count, 0)
      const began = systemClock.monotonic()
      for await (const chunk of chunks(deadLetters.pending(), this.disposal.rate)) {
        interrupted.throwIfAborted()
        inDoubt = chunk.deadLetters.length
        await this.#dispose(producers.get(chunk.group)!, chunk)
        const count = [...this.#counts.values()].reduce((sum, each) => sum + each, 0)
        progress(count)
        if (count < pending) await this.#pace(count, began)
      }
      // The next reader, a replay or another command, must see the notes.
      await visible()
    } catch (error) {
      if (interrupted.aborted) await visible().catch(() => {})
      const cause = interrupted.aborted ? interrupted.reason : (error as Error)
      const doubt = cause instanceof UnknownCommitError ? `, perhaps ${inDoubt} more` : ''
      const message = `${this.#done(totals)}${doubt}, and the rest is untouched: ${cause.message}`
      throw new CommandFailure(message, exitCode.failed, { cause })
    }
    const disposed = (group: string, total: number): Disposed => {
      return { count: this.#counts.get(group) ?? 0, total, takenOver: this.#takenOver.get(group) }
    }
    return new Map([...totals].map(([group, total]) => [group, disposed(group, total)]))
  }

  /** `3 of 12 dead letters of group billing are redriven` */
  #done(totals: ReadonlyMap<string, number>): string {
    const { names } = this.context.connection
    const parts = [...totals].map(([group, total]) => {
      return `${this.#counts.get(group) ?? 0} of ${deadLettersText(total)} ${ofGroup(group, names)}`
    })
    return `${parts.join(', ')} are ${this.disposal.done}`
  }

  async #dispose(producer: TransactionalProducer, { group, deadLetters }: Chunk): Promise<void> {
    if (this.#takenOver.has(group)) return
    try {
      await this.#transaction(producer, group, deadLetters)
      this.#counts.set(group, (this.#counts.get(group) ?? 0) + deadLetters.length)
    } catch (error) {
      if (!(error instanceof FencedProducerError)) throw error
      this.#takenOver.set(group, error)
    }
  }

  async #pace(count: number, began: number): Promise<void> {
    const { rate } = this.disposal
    if (rate === undefined) return
    const wait = (count / rate) * 1_000 - (systemClock.monotonic() - began)
    await pause(Math.max(0, wait), undefined, { signal: this.context.interrupted })
  }

  async #transaction(
    producer: TransactionalProducer,
    group: string,
    deadLetters: readonly DeadLetterRecord[],
  ): Promise<void> {
    const { done, auditTopic, by } = this.disposal
    const at = systemClock.wall()
    const written = new Writes()
    for (const deadLetter of deadLetters) {
      if (done === 'redriven') await this.#copy(written, deadLetter, { at, by })
    }
    const notes = this.#notes(group, deadLetters, at)
    const dlqTopic = this.context.connection.names.full(needDlqTopic(this.context.connection))
    for (const note of notes) {
      written.add(dlqTopic, note.partition, ledgerRecord(note, randomUUID()))
    }
    if (auditTopic !== undefined) {
      const topic = this.context.connection.names.full(auditTopic)
      const value = JSON.stringify({
        command: done === 'redriven' ? 'dlq redrive' : 'dlq discard',
        group,
        by,
        at: new Date(at).toISOString(),
        dlqTopic,
        deadLetters: notes.flatMap(({ partition, ranges }) =>
          ranges.map(
            ([first, last]) =>
              `${partitionName({ topic: dlqTopic, partition })}@${first === last ? first : `${first}-${last}`}`,
          ),
        ),
        count: deadLetters.length,
      })
      const record = { key: Buffer.from(group), value: Buffer.from(value), headers: [], timestamp: at }
      written.add(topic, partitionOfKey(record.key, await this.#partitions(topic)), record)
    }
    await producer.write(written.all)
  }

  async #copy(written: Writes, of: DeadLetterRecord, redriving: Redriving): Promise<void> {
    const toRetry = this.disposal.to === 'retry'
    const topic = toRetry
      ? this.context.connection.names.full(this.context.connection.retryTopic!)
      : of.deadLetter.topic
    const count = await this.#partitions(topic)
    const { key, value, timestamp } = of.record
    const headers = toRetry ? retryHeaders(of, redriving) : originalHeaders(of, redriving)
    const partition = key === null ? this.#turn++ % count : partitionOfKey(key, count)
    written.add(topic, partition, { key, value, headers, timestamp })
  }

  #notes(group: string, deadLetters: readonly DeadLetterRecord[], at: number): LedgerNote[] {
    const { done, by } = this.disposal
    return [...grouped(deadLetters, ({ record }) => record.partition)].map(([partition, each]) => {
      const offsets = each.map(({ offset }) => offset).sort((a, b) => a - b)
      return { group, done, partition, ranges: rangesOf(offsets), by, at }
    })
  }

  async #partitions(topic: string): Promise<number> {
    let count = this.#partitionCounts.get(topic)
    if (count === undefined) {
      count = await this.context.connection.admin.partitionsOf(topic)
      this.#partitionCounts.set(topic, count)
    }
    return count
  }
}

/** The records of a transaction, by partition. */
class Writes {
  readonly #partitions = new Map<string, { topic: string; partition: number; records: EncodableRecord[] }>()

  add(topic: string, partition: number, record: EncodableRecord): void {
    const name = partitionName({ topic, partition })
    const known = this.#partitions.get(name)
    if (known === undefined) this.#partitions.set(name, { topic, partition, records: [record] })
    else known.records.push(record)
  }

  get all(): readonly PartitionRecords[] {
    return [...this.#partitions.values()]
  }
}

/** The dead letters of one transaction. */
interface Chunk {
  readonly group: string
  readonly deadLetters: DeadLetterRecord[]
  bytes: number
}

/**
 * Groups dead letters into transactions. At most `maxBytes` of them are held, unless a single one is larger.
 */
async function* chunks(
  deadLetters: AsyncIterable<DeadLetterRecord>,
  rate: number | undefined,
): AsyncGenerator<Chunk, void, undefined> {
  const limit =
    rate === undefined
      ? maxDeadLetters
      : Math.min(maxDeadLetters, Math.max(1, Math.floor(rate / transactionsPerSecond)))
  const open = new Map<string, Chunk>()
  let bytes = 0
  const close = (chunk: Chunk) => {
    open.delete(chunk.group)
    bytes -= chunk.bytes
    return chunk
  }
  for await (const deadLetter of deadLetters) {
    const [group, size] = [groupOf(deadLetter), sizeOf(deadLetter.record)]
    while (open.size > 0 && bytes + size > maxBytes) {
      yield close([...open.values()].reduce((one, other) => (other.bytes > one.bytes ? other : one)))
    }
    const chunk = open.get(group) ?? { group, deadLetters: [], bytes: 0 }
    open.set(group, chunk)
    chunk.deadLetters.push(deadLetter)
    chunk.bytes += size
    bytes += size
    if (chunk.deadLetters.length === limit) yield close(chunk)
  }
  for (const chunk of open.values()) yield close(chunk)
}

function sizeOf({ key, value, headerPairs }: DeadLetterRecord['record']): number {
  const headers = headerPairs.reduce((sum, [name, bytes]) => sum + name.length + (bytes?.length ?? 0), 0)
  return (key?.length ?? 0) + (value?.length ?? 0) + headers
}
