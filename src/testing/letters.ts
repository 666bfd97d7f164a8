import { inspect } from 'node:util'
import type { StoredRecord } from '../drivers/memory/index.js'
import { placeName } from '../place.js'

/** The place of a record in Kafka, with full topic names. */
export interface Place {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
}

/** The letters for records, in this order. */
export const alphabet: readonly string[] = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ']

/** The mark of a record without a letter, whose value is not a single character. */
export const unknown = '?'

/** The letters of records. A record is known by its place, also if it is read from a copy. */
export class Letters {
  readonly #byPlace = new Map<string, { readonly letter: string; readonly meaning: string }>()

  /** @param meaning The text for the legend of a picture. */
  give(letter: string, place: Place, meaning: string): void {
    this.#byPlace.set(nameOf(place), { letter, meaning })
  }

  /** The letter that the record was published as; otherwise its value, if that is one character. */
  of(place: Place, value: unknown): { readonly mark: string; readonly meaning: string } {
    const known = this.#byPlace.get(nameOf(place))
    return { mark: known?.letter ?? letterIn(value), meaning: known?.meaning ?? `${nameOf(place)}, ${shown(value)}` }
  }

  /** The letter that the record was published as; undefined if no diagram published it. */
  known(place: Place): string | undefined {
    return this.#byPlace.get(nameOf(place))?.letter
  }

  /** Copies on retry and DLQ topics have the letter of the original record. */
  ofStored(record: StoredRecord): { readonly mark: string; readonly meaning: string } {
    const origin = [record, ...originsOf(record)].find(place => this.#byPlace.has(nameOf(place)))
    return this.of(origin ?? record, record.value)
  }
}

/** `orders-0@3`, which is unique. */
export function nameOf(place: Place): string {
  return placeName(place)
}

/** A value for a picture: bytes as text, a record as its place. */
export function shown(value: unknown): string {
  const text = isRecord(value)
    ? `the record ${nameOf(value)}`
    : inspect(plain(value), { depth: 1, breakLength: Number.POSITIVE_INFINITY })
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}

function plain(value: unknown): unknown {
  return Buffer.isBuffer(value) ? value.toString() : value
}

function isRecord(value: unknown): value is Place & { ack: unknown } {
  return typeof value === 'object' && value !== null && 'ack' in value && 'offset' in value
}

function letterIn(value: unknown): string {
  const text = plain(value)
  return typeof text === 'string' && /^[\p{L}\p{N}]$/u.test(text) ? text : unknown
}

/** The original places in the headers of a copy, one per group. */
export function originsOf({ headerPairs }: StoredRecord): Place[] {
  const headers = new Map(headerPairs.map(([name, value]) => [name, value?.toString()]))
  return [...headers].flatMap(([name, topic]) => {
    const group = /^mika_err_(.*)_org_topic$/.exec(name)?.[1]
    const [partition, offset] = ['partition', 'offset'].map(field => headers.get(`mika_err_${group}_org_${field}`))
    if (topic === undefined || !isNumber(partition) || !isNumber(offset)) return []
    return [{ topic, partition: Number(partition), offset: BigInt(offset) }]
  })
}

function isNumber(text: string | undefined): text is string {
  return text !== undefined && /^\d+$/.test(text)
}
