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

/** The group of letters that name none in their headers, in the ledger too. No group replays them. */
export const noGroup = ''

/** Whether a group has completed the record at this place of the DLQ topic. */
type IsCompleted = (partition: number, offset: number) => boolean

/**
 * The pending letters of the DLQ topic: neither this command line has completed them, as its notes in the ledger say, nor a
 * replay of their group, as its committed positions say.
 *
 * A note stands behind the letters that it names, so the topic is read twice: once for the notes, and once for the letters.
 * Letters are not kept. Memory grows with the ranges of offsets that notes name, and not with the number of letters.
 */
export class Letters {
  readonly #ledgers = new Map<string, DlqLedger>()
  readonly #replayed = new Map<string, Promise<IsCompleted>>()
  readonly #dlqTopic: string
  /** By partition, the next offset to read notes from. */
  readonly #next = new Map<number, bigint>()
  /** By partition, the offset that letters are read up to: all notes on letters below it are known. */
  #ends: ReadonlyMap<number, bigint> = new Map()

  /** Call `learn` before anything else. */
  constructor(
    readonly connection: Connection,
    readonly selection: Selection,
  ) {
    this.#dlqTopic = needDlqTopic(connection)
  }

  /**
   * Reads all notes of the ledger. Letters behind the present end of the topic are not pending for this object.
   *
   * Rejects with a `ConfigurationError` if the DLQ topic does not exist.
   */
  async learn(progress: (records: number) => void): Promise<void> {
    await this.#partitions()
    let records = 0
    for await (const record of this.connection.client.read(this.#dlqTopic)) {
      progress(++records)
      this.#note(record)
    }
    this.#ends = new Map(this.#next)
  }

  /** Reads the notes and the positions of replays that were written since. */
  async learnMore(): Promise<void> {
    this.#replayed.clear()
    const from = new Map((await this.#partitions()).map(partition => [partition, this.#next.get(partition) ?? 0n]))
    for await (const record of this.connection.client.read(this.#dlqTopic, { from })) this.#note(record)
  }

  /**
   * Emits the pending letters that the selection takes. A partition's letters come in the order of their offsets.
   *
   * With a limit, it reads one partition after the other, so that each call emits the same letters. Once the limit is reached,
   * later calls emit none beyond it, even if letters before it were completed meanwhile.
   */
  async *pending(progress: (records: number) => void = () => {}): AsyncGenerator<Letter, void, undefined> {
    const { limit } = this.selection
    const ends = this.#ends
    let [records, found] = [0, 0]
    for await (const record of this.#records(Number.isFinite(limit))) {
      progress(++records)
      const letter = record.offset < (ends.get(record.partition) ?? 0n) ? this.#letterOf(record) : undefined
      if (letter === undefined || (await this.#isDone(letter))) continue
      if (++found === limit) this.#ends = endsAfter(ends, record)
      yield letter
      if (found === limit) return
    }
  }

  async *#records(inOrder: boolean): AsyncGenerator<ReadRecord, void, undefined> {
    const { client } = this.connection
    if (!inOrder) yield* client.read(this.#dlqTopic)
    else
      for (const partition of await this.#partitions()) yield* client.read(this.#dlqTopic, { partitions: [partition] })
  }

  async #partitions(): Promise<number[]> {
    const { admin, names } = this.connection
    return [...Array(await admin.partitionsOf(names.full(this.#dlqTopic))).keys()]
  }

  #note(record: ReadRecord): void {
    this.#next.set(record.partition, record.offset + 1n)
    const note = ledgerNoteOf(record)
    if (note !== undefined && note.partition === record.partition) this.#ledgerOf(note.group).add(note)
  }

  #letterOf(record: ReadRecord): Letter | undefined {
    if (isLedgerRecord(record)) return undefined
    const { group } = this.selection
    const letter = deadLetterOf({ headers: record.headerPairs }, group === undefined ? {} : { group })
    if (letter === undefined) return undefined
    const offset = Number(record.offset)
    const { partition, timestamp } = record
    return this.selection.takes(letter, { partition, offset, timestamp }) ? { record, offset, letter } : undefined
  }

  #ledgerOf(group: string): DlqLedger {
    let ledger = this.#ledgers.get(group)
    if (ledger === undefined) {
      ledger = new DlqLedger(group)
      this.#ledgers.set(group, ledger)
    }
    return ledger
  }

  async #isDone({ record, offset, letter: { group = noGroup } }: Letter): Promise<boolean> {
    if (this.#ledgerOf(group).has(record.partition, offset)) return true
    if (group === noGroup) return false
    let replayed = this.#replayed.get(group)
    if (replayed === undefined) {
      replayed = this.#replayedBy(group)
      this.#replayed.set(group, replayed)
    }
    return (await replayed)(record.partition, offset)
  }

  /** The records of the DLQ topic that the group has completed by its replays. */
  async #replayedBy(group: string): Promise<IsCompleted> {
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

/** The ends that leave out everything behind `last`, in the order of partitions and offsets. */
function endsAfter(ends: ReadonlyMap<number, bigint>, last: ReadRecord): Map<number, bigint> {
  return new Map(
    [...ends]
      .filter(([partition]) => partition <= last.partition)
      .map(([partition, end]) => [partition, partition === last.partition ? last.offset + 1n : end]),
  )
}
