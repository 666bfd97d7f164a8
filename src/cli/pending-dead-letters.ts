import { decodeFinished } from '../client/finished-work.js'
import type { ReadRecord } from '../read-record.js'
import { type DeadLetter, deadLetterOf } from '../retry/dead-letter-of.js'
import { isLedgerRecord, ledgerNoteOf } from '../retry/dlq-ledger.js'
import { type Connection, needDlqTopic } from './connection.js'
import { DeadLetterPlaces } from './dead-letter-places.js'
import type { Selection } from './selection.js'

/** A record of the DLQ topic, and what its headers say. */
export interface DeadLetterRecord {
  readonly record: ReadRecord
  readonly offset: number
  readonly deadLetter: DeadLetter
}

/** The group of dead letters that name none in their headers, in the ledger too. No group replays them. */
export const noGroup = ''

/** The group that completes a dead letter. */
export function groupOf({ deadLetter: { group = noGroup } }: DeadLetterRecord): string {
  return group
}

/**
 * The pending dead letters of the DLQ topic that match a selection. A dead letter is pending if it was completed neither by
 * this command line (its notes in the ledger say so) nor by a replay of its group (the group's committed positions say so).
 *
 * A note follows the dead letters that it names, so whether a dead letter is pending is known only once its partition was
 * read to the end. So `learn` reads the topic once and keeps the places of dead letters, and `pending` reads the dead letters
 * at these places.
 */
export class PendingDeadLetters {
  readonly #places = new DeadLetterPlaces()
  readonly #dlqTopic: string
  /** By partition, the next offset to read notes from. */
  readonly #next = new Map<number, bigint>()

  /** Call `learn` before anything else. */
  constructor(
    readonly connection: Connection,
    readonly selection: Selection,
  ) {
    this.#dlqTopic = needDlqTopic(connection)
  }

  /** How many dead letters are pending, by full name of their group. Groups without one are left out. */
  get counts(): ReadonlyMap<string, number> {
    return this.#places.counts
  }

  /** Whether the dead letter of this group at this place is pending. */
  isPending(group: string, partition: number, offset: number): boolean {
    return this.#places.groupAt(partition, offset) === group
  }

  /**
   * Reads the topic, to find its dead letters and which of them are completed. Dead letters that are written later are not
   * pending for this object.
   *
   * Rejects with a `ConfigurationError` if the DLQ topic does not exist.
   *
   * @param seen Called with each dead letter that matches the selection. A later note may say that it is completed.
   */
  async learn(
    progress: (records: number) => void,
    seen: (deadLetter: DeadLetterRecord) => void = () => {},
  ): Promise<void> {
    const { admin, client, names } = this.connection
    await admin.partitionsOf(names.full(this.#dlqTopic))
    let records = 0
    for await (const record of client.read(this.#dlqTopic)) {
      progress(++records)
      this.#note(record)
      const deadLetter = this.#deadLetterOf(record)
      if (deadLetter === undefined) continue
      this.#places.add(groupOf(deadLetter), record.partition, deadLetter.offset)
      seen(deadLetter)
    }
    await this.#learnReplays()
    this.#places.keepFirst(this.selection.limit)
  }

  /** Reads the notes and replay positions that were written since. The dead letters that they complete are not pending any more. */
  async learnMore(): Promise<void> {
    const partitions = [...this.#places.bounds.keys()]
    const from = new Map(partitions.map(partition => [partition, this.#next.get(partition)!]))
    if (from.size > 0) {
      for await (const record of this.connection.client.read(this.#dlqTopic, { from })) this.#note(record)
    }
    await this.#learnReplays()
  }

  /**
   * Emits the pending dead letters, those of a partition in the order of their offsets. Reads from the first one to the last
   * one. Dead letters that retention has deleted meanwhile are left out.
   *
   * @param inOrder Reads one partition after the other.
   */
  async *pending(
    progress: (records: number) => void = () => {},
    inOrder = false,
  ): AsyncGenerator<DeadLetterRecord, void> {
    const bounds = this.#places.bounds
    let left = [...this.counts.values()].reduce((sum, count) => sum + count, 0)
    let records = 0
    for await (const record of this.#records(bounds, inOrder)) {
      progress(++records)
      const group = this.#places.groupAt(record.partition, Number(record.offset))
      const deadLetter = group === undefined ? undefined : this.#deadLetterOf(record)
      if (deadLetter === undefined || groupOf(deadLetter) !== group) continue
      yield deadLetter
      if (--left === 0) return
    }
  }

  async *#records(bounds: DeadLetterPlaces['bounds'], inOrder: boolean): AsyncGenerator<ReadRecord, void> {
    const { client } = this.connection
    const from = [...bounds].map(([partition, { first }]) => [partition, BigInt(first)] as const)
    if (from.length === 0) return
    if (!inOrder) return yield* client.read(this.#dlqTopic, { from: new Map(from) })
    for (const each of from) {
      for await (const record of client.read(this.#dlqTopic, { from: new Map([each]) })) {
        yield record
        if (Number(record.offset) >= bounds.get(record.partition)!.last) break
      }
    }
  }

  #note(record: ReadRecord): void {
    this.#next.set(record.partition, record.offset + 1n)
    const note = ledgerNoteOf(record)
    if (note === undefined || note.partition !== record.partition) return
    for (const [first, last] of note.ranges) this.#places.remove(note.group, note.partition, first, last)
  }

  #deadLetterOf(record: ReadRecord): DeadLetterRecord | undefined {
    if (isLedgerRecord(record)) return undefined
    const { group } = this.selection
    const deadLetter = deadLetterOf({ headers: record.headerPairs }, group === undefined ? {} : { group })
    if (deadLetter === undefined) return undefined
    const offset = Number(record.offset)
    const { partition, timestamp } = record
    return this.selection.takes(deadLetter, { partition, offset, timestamp })
      ? { record, offset, deadLetter }
      : undefined
  }

  /** Removes what groups have completed by their replays. */
  async #learnReplays(): Promise<void> {
    const { admin, names } = this.connection
    const dlqTopic = names.full(this.#dlqTopic)
    for (const group of this.counts.keys()) {
      if (group === noGroup) continue
      for (const { topic, partition, committed, metadata } of await admin.positions(group)) {
        if (topic !== dlqTopic) continue
        const ranges = decodeFinished(committed, metadata)
        for (const [first, last] of [[0, committed - 1] as const, ...ranges]) {
          this.#places.remove(group, partition, first, last)
        }
      }
    }
  }
}
