import { decodeFinished } from '../client/finished-work.js'
import type { StoredRecord } from '../drivers/memory/index.js'
import { nameOf, originsOf, type Place } from './letters.js'
import { RetryDelays } from './retry-delays.js'
import type { HistoryEntry, Whose } from './scenario.js'

/** A promise of the library that a history breaks: names the rule, and says where. */
export interface Broken {
  readonly rule: string
  readonly message: string
}

/** What a history does not tell by itself. */
export interface Surroundings {
  /** The group of a client, as the broker has it; undefined: it has none, and promises nothing here. */
  groupOf(client: number): string | undefined
  /** A user's topic name, as the broker has it. */
  fullName(client: number, topic: string): string
  /** Whether the record stands in the log: one that compaction or retention took is owed to nobody. */
  exists(place: Place): boolean
  /** Topics whose positions move by other rules: dead letters, which a replay passes over as it is told. */
  isExempt(topic: string): boolean
}

/**
 * What holds whatever happens, and is checked in every run:
 *
 * - Nothing is lost: a position passes a record only once it is completed, that is acked, or its retry or dead-letter
 *   copy stands on the broker, or it was discarded on purpose. Everything else is still uncommitted.
 * - What is remembered as finished behind a position is completed likewise.
 * - A position is never lowered, but by `seek`.
 * - A completed record is delivered again only after its partition was lost, or a member killed or expelled, since.
 * - A retry is not delivered before its delay is over, unless the clock of another member, which wrote it, was behind.
 *
 * @returns The first that is broken.
 */
export function firstBroken(entries: readonly HistoryEntry[], around: Surroundings): Broken | undefined {
  const judge = new Judge(around)
  for (const entry of entries) {
    const broken = judge.see(entry)
    if (broken !== undefined) return { ...broken, message: `frame ${entry.frame}: ${broken.message}` }
  }
  return undefined
}

/** Before anything that excuses a delivery. */
const tooLate = -2

/** What one group did with one partition. */
class Reading {
  position = 0
  /** Where it began: what is below was never to be delivered. */
  from: number | undefined
  /** Offsets that are completed, and after how many entries. */
  readonly completed = new Map<number, number>()
  /** Taken away without asking, after how many entries. */
  lost = -1
  /** Who has the partition. */
  owner: number | undefined
}

class Judge {
  readonly #readings = new Map<string, Reading>()
  /** Offsets that were written, by partition. */
  readonly #written = new Map<string, number[]>()
  /** Where the record at a place was first published. */
  readonly #origins = new Map<string, string>()
  /** How many copies stand of what was published at a place. */
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
        return this.#told(entry.client, entry.event)
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

  #told(client: number, event: Extract<HistoryEntry, { what: 'event' }>['event']): Broken | undefined {
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
        // On purpose: what is below is not owed, and what is above is to be delivered again.
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
    // Too late for its assignment, a copy stands all the same; the record may well be delivered again.
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
