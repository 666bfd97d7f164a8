import type { TopicNames } from '../client/topic-names.js'
import type { DeadLetter } from '../retry/dead-letter-of.js'
import { wrongUse } from './failure.js'
import { type OffsetList, offsetList } from './offset-list.js'
import { moment } from './time.js'

/** The flags that select dead letters. */
export interface SelectionFlags {
  readonly group?: string
  readonly topic?: string
  readonly error?: string
  readonly since?: string
  readonly until?: string
  readonly offsets?: string
  readonly limit?: string
}

export class Selection {
  /** The full name, with the suffix. */
  readonly group: string | undefined
  /** The maximum number of dead letters; `Infinity` without `--limit`. */
  readonly limit: number
  readonly #topic: string | undefined
  readonly #error: string | undefined
  readonly #since: number
  readonly #until: number
  readonly #offsets: OffsetList | undefined

  constructor({ group, topic, error, since, until, offsets, limit }: SelectionFlags, names: TopicNames, now: number) {
    this.group = group === undefined ? undefined : names.full(group)
    this.#topic = topic === undefined ? undefined : names.full(topic)
    this.#error = error
    this.#since = since === undefined ? Number.NEGATIVE_INFINITY : moment('--since', since, now)
    this.#until = until === undefined ? Number.POSITIVE_INFINITY : moment('--until', until, now)
    this.#offsets = offsets === undefined ? undefined : offsetList(offsets)
    this.limit = limit === undefined ? Number.POSITIVE_INFINITY : positive('--limit', limit)
  }

  /** @param place The place of the dead letter on the DLQ topic. */
  takes(
    deadLetter: DeadLetter,
    place: { readonly partition: number; readonly offset: number; readonly timestamp: number },
  ): boolean {
    if (this.#topic !== undefined && deadLetter.topic !== this.#topic) return false
    if (this.#error !== undefined && deadLetter.errorName !== this.#error) return false
    if (this.#offsets?.has(place.partition, place.offset) === false) return false
    const failedAt = deadLetter.failedAt ?? place.timestamp
    return failedAt >= this.#since && failedAt < this.#until
  }
}

/** Reads an integer ≥ 1. @throws CommandFailure naming the flag. */
export function positive(flag: string, text: string): number {
  const number = Number(text)
  if (Number.isSafeInteger(number) && number > 0) return number
  throw wrongUse(`${flag} must be an integer ≥ 1 (got '${text}')`)
}
