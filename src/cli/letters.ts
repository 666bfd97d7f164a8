import { decodeFinished } from '../client/finished-work.js'
import type { ReadRecord } from '../read-record.js'
import { type DeadLetter, deadLetterOf } from '../retry/dead-letter-of.js'
import { DlqLedger, isLedgerRecord, ledgerNoteOf } from '../retry/dlq-ledger.js'
import { type Connection, needDlqTopic } from './connection.js'
import type { Selection } from './selection.js'

/** A record of the DLQ topic, and what its headers say. */
export interface Letter {
  readonly record: ReadRecord
  readonly offset: number
  readonly letter: DeadLetter
}

/** In the ledger, for letters without a group in their headers. No group replays them. */
const nobody = ''

/**
 * The letters of the DLQ topic that nobody has dealt with yet: neither this command line, which notes it in the ledger,
 * nor a replay of the group, which commits it.
 */
export class Letters {
  readonly #ledgers = new Map<string, DlqLedger>()
  readonly #replayed = new Map<string, Promise<(partition: number, offset: number) => boolean>>()
  readonly #dlqTopic: string
  /** Where the next reading of the topic begins, by partition. */
  #next = new Map<number, bigint>()

  constructor(
    readonly connection: Connection,
    readonly selection: Selection,
  ) {
    this.#dlqTopic = needDlqTopic(connection)
  }

  /** The letters that the selection takes, oldest first within a partition. */
  async pending(progress: (records: number) => void): Promise<Letter[]> {
    const { connection, selection } = this
    const letters: Letter[] = []
    let records = 0
    await connection.admin.partitionsOf(connection.names.full(this.#dlqTopic))
    for await (const record of connection.client.read(this.#dlqTopic)) {
      progress(++records)
      const offset = this.#passed(record)
      const letter = this.#letterOf(record)
      const place = { partition: record.partition, offset, timestamp: record.timestamp }
      if (letter !== undefined && selection.takes(letter, place)) letters.push({ record, offset, letter })
    }
    // A note stands behind the letters that it is about: only now is known what is done with.
    const left: Letter[] = []
    for (const each of letters) {
      if (left.length < selection.limit && !(await this.#isDone(each))) left.push(each)
    }
    return left
  }

  /** Those of `letters` that are still pending, by what was noted since. */
  async stillPending(letters: readonly Letter[]): Promise<Letter[]> {
    const { connection } = this
    this.#replayed.clear()
    for await (const record of connection.client.read(this.#dlqTopic, { from: await this.#from() }))
      this.#passed(record)
    const left: Letter[] = []
    for (const each of letters) if (!(await this.#isDone(each))) left.push(each)
    return left
  }

  async #from(): Promise<ReadonlyMap<number, bigint>> {
    const count = await this.connection.admin.partitionsOf(this.connection.names.full(this.#dlqTopic))
    return new Map(Array.from({ length: count }, (_, partition) => [partition, this.#next.get(partition) ?? 0n]))
  }

  #passed(record: ReadRecord): number {
    this.#next.set(record.partition, record.offset + 1n)
    const note = ledgerNoteOf(record)
    if (note !== undefined && note.partition === record.partition) this.#ledgerOf(note.group).add(note)
    return Number(record.offset)
  }

  #letterOf(record: ReadRecord): DeadLetter | undefined {
    if (isLedgerRecord(record)) return undefined
    const { group } = this.selection
    return deadLetterOf({ headers: record.headerPairs }, group === undefined ? {} : { group })
  }

  #ledgerOf(group: string): DlqLedger {
    let ledger = this.#ledgers.get(group)
    if (ledger === undefined) {
      ledger = new DlqLedger(group)
      this.#ledgers.set(group, ledger)
    }
    return ledger
  }

  async #isDone({ record, offset, letter: { group = nobody } }: Letter): Promise<boolean> {
    if (this.#ledgerOf(group).has(record.partition, offset)) return true
    if (group === nobody) return false
    let replayed = this.#replayed.get(group)
    if (replayed === undefined) {
      replayed = this.#replayedBy(group)
      this.#replayed.set(group, replayed)
    }
    return (await replayed)(record.partition, offset)
  }

  /** What the group itself has completed on the DLQ topic, by its replays. */
  async #replayedBy(group: string): Promise<(partition: number, offset: number) => boolean> {
    const { admin, names } = this.connection
    const done = new Map<number, { readonly below: number; readonly ledger: DlqLedger }>()
    for (const { topic, partition, committed, metadata } of await admin.positions(group)) {
      if (topic !== names.full(this.#dlqTopic)) continue
      const ledger = new DlqLedger(group)
      const ranges = decodeFinished(committed, metadata)
      ledger.add({ group, done: 'redriven', partition, ranges, by: '', at: 0 })
      done.set(partition, { below: committed, ledger })
    }
    return (partition, offset) => {
      const of = done.get(partition)
      return of !== undefined && (offset < of.below || of.ledger.has(partition, offset))
    }
  }
}
