import { decodeFinished } from '../client/finished-work.js'
import type { StoredRecord } from '../drivers/memory/index.js'
import { nameOf, originsOf, type Place } from './letters.js'
import { RetryDelays } from './retry-delays.js'
import type { HistoryEntry, Whose } from './scenario.js'

/** A guarantee of the library that a history violates: the rule, and where. */
export interface Broken {
  readonly rule: string
  readonly message: string
}

/** The data that a check needs in addition to the history. */
export interface Surroundings {
  /** The full name of a client's group; undefined: it has none, so the rules about commits do not apply. */
  groupOf(client: number): string | undefined
  /** The full name of a user's topic. */
  fullName(client: number, topic: string): string
  /** Whether the record is still in the log. One that compaction or retention removed need not be delivered. */
  exists(place: Place): boolean
  /** Topics to which these rules do not apply: the DLQ topic, whose records a replay may skip. */
  isExempt(topic: string): boolean
}

/**
 * The rules that are checked in every run:
 *
 * - Nothing is lost: a position passes a record only once it is completed, that is, acked, or copied to the retry or DLQ
 *   topic, or discarded. Every other record is uncommitted.
 * - Records that the metadata lists as finished behind a position are completed too.
 * - A position is never lowered, except by `seek`.
 * - A completed record is delivered again only if its partition was lost, or a member was killed or expelled, since.
 * - A retry is not delivered before its delay is over, unless it was written by another member whose clock was behind.
 *
 * @returns The first violation.
 */
export function firstBroken(entries: readonly HistoryEntry[], around: Surroundings): Broken | undefined {
  const judge = new Judge(around)
  for (const entry of entries) {
    const broken = judge.see(entry)
    if (broken !== undefined) return { ...broken, message: `frame ${entry.frame}: ${broken.message}` }
  }
  return undefined
}

/** Lower than any entry that excuses a repeated delivery. */
const tooLate = -2

/** The state of one group in one partition. */
class Reading {
  position = 0
  /** Where it began: records below were never to be delivered. */
  from: number | undefined
  /** Completed offsets, each with the number of entries before its completion. */
  readonly completed = new Map<number, number>()
  /** The number of entries before the partition was last lost; -1: never. */
  lost = -1
  /** The client that has the partition. */
  owner: number | undefined
}

class Judge {
  readonly #readings = new Map<string, Reading>()
  /** The offsets of written records by partition. */
  readonly #written = new Map<string, number[]>()
  /** The place where the record at a place was first published. */
  readonly #origins = new Map<string, string>()
  /** How many copies exist of the record that was published at a place. */
  readonly #copies = new Map<string, number>()
  #killed = -1
  #seen = 0
  readonly #delays = new RetryDelays()

  constructor(readonly around: Surroundings) {}

  see(entry: HistoryEntry): Broken | undefined {
    this.#seen++
    switch (entry.what) {
      case 'written':
        return this.#wrote(entry.record)
      case 'delivered': {
        const place = this.#sourceOf(entry.client, entry.record.source)
        return this.#delivered(entry.client, entry.letter, place) ?? this.#early(entry, place)
      }
      case 'failed':
        this.#delays.failed(entry)
        return undefined
      case 'clock set':
        this.#delays.clockSet(entry)
        return undefined
      case 'acked':
        return this.#complete(entry.client, this.#sourceOf(entry.client, entry.record.source))
      case 'committed':
        return this.#committed(entry.commit)
      case 'killed':
      case 'expelled':
        this.#killed = this.#seen
        return undefined
      case 'event':
        return this.#onEvent(entry.client, entry.event)
      default:
        return undefined
    }
  }

  #wrote(record: StoredRecord): undefined {
    const partition = `${record.topic}-${record.partition}`
    const offsets = this.#written.get(partition)
    if (offsets === undefined) this.#written.set(partition, [Number(record.offset)])
    else offsets.push(Number(record.offset))
    this.#delays.wrote(record)
    const [origin] = originsOf(record)
    if (origin === undefined) return
    const name = nameOf(origin)
    this.#origins.set(nameOf(record), name)
    this.#copies.set(name, (this.#copies.get(name) ?? 0) + 1)
  }

  #delivered(client: number, letter: string, place: Place): Broken | undefined {
    const reading = this.#readingOf(client, place)
    const completed = reading?.completed.get(Number(place.offset))
    if (reading === undefined || completed === undefined || Math.max(reading.lost, this.#killed) > completed) return
    return {
      rule: 'delivered again',
      message: `${letter} is delivered again to client ${client + 1}, from ${nameOf(place)}: it was completed, and nothing was lost since`,
    }
  }

  #early({ client, letter, frame }: Whose & { readonly letter: string }, place: Place): Broken | undefined {
    const group = this.around.groupOf(client)
    const early = group === undefined ? 0 : this.#delays.earlyBy(client, frame, nameOf(place), group)
    if (early <= 0) return
    return {
      rule: 'early',
      message: `${letter} is delivered to client ${client + 1}, from ${nameOf(place)}, ${early} ms before its delay is over`,
    }
  }

  #onEvent(client: number, event: Extract<HistoryEntry, { what: 'event' }>['event']): Broken | undefined {
    switch (event.type) {
      case 'assigned': {
        const reading = this.#readingOf(client, this.#sourceOf(client, event))
        if (reading === undefined) return
        reading.owner = client
        reading.from ??= Number(event.offset)
        return
      }
      case 'revoked':
      case 'lost':
      case 'forgotten': {
        const reading = this.#readingOf(client, this.#sourceOf(client, event))
        if (reading === undefined) return
        if (event.type !== 'revoked') reading.lost = this.#seen
        if (event.type !== 'forgotten' && reading.owner === client) reading.owner = undefined
        return
      }
      case 'moved': {
        const reading = this.#readingOf(client, this.#sourceOf(client, event))
        if (reading === undefined) return
        // The user's choice: records below are not owed, and those above are to be delivered again.
        reading.from = reading.position = Number(event.offset)
        reading.lost = this.#seen
        reading.completed.clear()
        return
      }
      case 'retried':
      case 'dead-lettered':
        return this.#copied(client, event.type, this.#sourceOf(client, event))
      case 'discarded':
      case 'skipped':
        return this.#complete(client, this.#sourceOf(client, event))
      default:
        return
    }
  }

  #copied(client: number, how: string, place: Place): Broken | undefined {
    const own = this.#origins.get(nameOf(place))
    const copies = this.#copies.get(own ?? nameOf(place)) ?? 0
    if (copies > (own === undefined ? 0 : 1)) return this.#complete(client, place)
    return { rule: 'no copy', message: `${nameOf(place)} is said to be ${how}, and there is no copy of it` }
  }

  #complete(client: number, place: Place): undefined {
    const reading = this.#readingOf(client, place)
    if (reading === undefined) return
    // A copy exists even if it came too late for its assignment. Then the record may well be delivered again.
    const isOwned = reading.owner === client
    if (isOwned || !reading.completed.has(Number(place.offset))) {
      reading.completed.set(Number(place.offset), isOwned ? this.#seen : tooLate)
    }
  }

  #committed(commit: Place & { readonly group: string; readonly metadata: string }): Broken | undefined {
    const { topic, partition, group } = commit
    const reading = this.#readingOfGroup(group, commit)
    const position = Number(commit.offset)
    if (position < reading.position) {
      const message = `group ${group} lowers its position of ${topic}-${partition} from ${reading.position} to ${position}`
      return { rule: 'lowered', message }
    }
    if (this.around.isExempt(topic)) return
    const passed = this.#notCompleted(reading, commit, Math.max(reading.position, reading.from ?? 0), position - 1)
    reading.position = position
    if (passed !== undefined) {
      const message = `group ${group} commits position ${position} of ${topic}-${partition}, and offset ${passed} is not completed: it would be lost`
      return { rule: 'lost', message }
    }
    for (const [first, last] of decodeFinished(position, commit.metadata)) {
      const forgotten = this.#notCompleted(reading, commit, first, last)
      if (forgotten === undefined) continue
      const message = `group ${group} notes offset ${forgotten} of ${topic}-${partition} as finished, and it is not completed: it would be lost`
      return { rule: 'lost', message }
    }
    return
  }

  #notCompleted(reading: Reading, { topic, partition }: Place, first: number, last: number): number | undefined {
    const written = this.#written.get(`${topic}-${partition}`) ?? []
    return written.find(
      offset =>
        offset >= first &&
        offset <= last &&
        !reading.completed.has(offset) &&
        this.around.exists({ topic, partition, offset: BigInt(offset) }),
    )
  }

  #sourceOf(client: number, place: Place): Place {
    const { topic, partition, offset } = place
    return { topic: this.around.fullName(client, topic), partition, offset }
  }

  #readingOf(client: number, place: Place): Reading | undefined {
    const group = this.around.groupOf(client)
    return group === undefined ? undefined : this.#readingOfGroup(group, place)
  }

  #readingOfGroup(group: string, { topic, partition }: Place): Reading {
    const name = `${group}\n${topic}-${partition}`
    const reading = this.#readings.get(name) ?? new Reading()
    this.#readings.set(name, reading)
    return reading
  }
}
