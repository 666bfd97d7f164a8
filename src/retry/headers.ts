import { RxMikaError } from '../errors.js'
import type { Origin } from '../record.js'
import type { HeaderPair, HeaderVisitor, RecordBatch } from '../record-batch.js'
import { longestDelay } from './backoff.js'

/**
 * The names of a group's headers, after `mika_err_{group}_`. The first three are the wire format shared with MiKa's Go
 * clients. A group owns exact names and not a prefix, because the groups `a` and `a_b` may share a topic.
 */
const fields = [
  'org_topic',
  'retries',
  'msg',
  'org_partition',
  'org_offset',
  'org_timestamp',
  'first_failed_at',
  'failed_at',
  'not_before',
  'error_name',
  'error_stack',
  'stage',
  'disposition',
  'redriven_at',
  'redriven_by',
] as const

export type Field = (typeof fields)[number]
export type FieldValues = { readonly [field in Field]?: Buffer | string | number | undefined }

/** The longest text of a header, in bytes. */
const textLimits: { readonly [field in Field]?: number } = {
  msg: 1024,
  redriven_by: 256,
  error_name: 256,
  error_stack: 4096,
}

/** The valid ranges of numbers. Dates end where JavaScript's do. */
const ranges = {
  retries: [0, 2 ** 31 - 1],
  org_partition: [0, 2 ** 31 - 1],
  org_offset: [0, Number.MAX_SAFE_INTEGER],
  // -1 is Kafka's timestamp for none. A broker accepts any other number as well.
  org_timestamp: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  first_failed_at: [0, 8.64e15],
  failed_at: [0, 8.64e15],
  not_before: [0, 8.64e15],
  redriven_at: [0, 8.64e15],
} as const satisfies { readonly [field in Field]?: readonly [number, number] }

const longestNumber = 17
const longestTopic = 249

/** A record's own headers are not valid for this library or MiKa. It is dead-lettered, because its retries cannot be counted. */
export class MalformedHeadersError extends RxMikaError {
  constructor(message: string) {
    super('RXMIKA_MALFORMED_HEADERS', message)
  }
}

/** Where a copy was read. Used for what its headers do not say: MiKa in Go writes no partition, offset or timestamp. */
export interface ReadAt {
  readonly kind: Origin['kind']
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
}

/** What the headers of a record on a retry or DLQ topic mean for one group. */
export type OwnHeaders =
  /** Another group's record. */
  | { readonly kind: 'foreign' }
  | { readonly kind: 'malformed'; readonly error: MalformedHeadersError }
  | {
      readonly kind: 'own'
      /** Its topic is the full name, as in the header. */
      readonly origin: Origin
      /** The earliest time of delivery, ms since 1970. */
      readonly notBefore: number | undefined
      readonly failedAt: number | undefined
    }

const foreign: OwnHeaders = { kind: 'foreign' }

/** The headers of one group: their names, how to read them and how to write them to a copy. */
export class GroupHeaders {
  readonly #of: { readonly [field in Field]: OwnHeader }
  /** In the order of `fields`. */
  readonly #all: readonly OwnHeader[]
  readonly #numbers: readonly OwnHeader[]
  readonly #byName: ReadonlyMap<string, OwnHeader>
  readonly #visitor: HeaderVisitor = {
    header: (name, bytes, from, end) => this.#byName.get(name)?.found(bytes, from, end),
  }
  #lastTopic: { readonly bytes: Buffer; readonly name: string } | undefined

  /** @param group The full name, suffix included. */
  constructor(readonly group: string) {
    this.#all = fields.map(field => new OwnHeader(field, `mika_err_${group}_${field}`))
    this.#of = Object.fromEntries(this.#all.map(header => [header.field, header])) as {
      [field in Field]: OwnHeader
    }
    this.#numbers = this.#all.filter(({ field }) => field in ranges)
    this.#byName = new Map(this.#all.map(header => [header.name, header]))
  }

  isOwn(name: string): boolean {
    return this.#byName.has(name)
  }

  /** Reads headers from any source: lengths and ranges are checked, and it never throws. */
  read(pairs: readonly HeaderPair[], at: ReadAt): OwnHeaders {
    for (const [name, value] of pairs) {
      if (value === null) this.#visitor.header(name, noBytes, -1, 0)
      else this.#visitor.header(name, value, 0, value.length)
    }
    return this.#read(at)
  }

  /** As `read`, from a record in its batch. */
  readOf(batch: RecordBatch, index: number, at: ReadAt): OwnHeaders {
    if (batch.scanHeaders === undefined) return this.read(batch.headers(index), at)
    batch.scanHeaders(index, this.#visitor)
    return this.#read(at)
  }

  #read(at: ReadAt): OwnHeaders {
    const read = this.#of.org_topic.isGiven ? this.#checked(at) : foreign
    for (const header of this.#all) header.forget()
    return read
  }

  #checked(at: ReadAt): OwnHeaders {
    const { org_topic, org_partition, org_offset, org_timestamp, retries, not_before, failed_at } = this.#of
    const topic = this.#topic()
    if (topic === undefined) return malformed(org_topic, `is not a topic name (got ${shown(org_topic.bytes)})`)
    for (const header of this.#numbers) {
      if (header.isGiven && !isInRange(header.field as keyof typeof ranges, header.number)) {
        return malformed(header, `is invalid (got ${shown(header.bytes)})`)
      }
    }
    const notBefore = not_before.isGiven ? not_before.number : undefined
    const failedAt = failed_at.isGiven ? failed_at.number : undefined
    if (notBefore !== undefined && failedAt !== undefined && notBefore - failedAt > longestDelay) {
      return malformed(not_before, `is ${notBefore - failedAt} ms after the failure (at most ${longestDelay} ms)`)
    }
    const origin: Origin = {
      kind: at.kind,
      topic,
      partition: org_partition.isGiven ? org_partition.number : at.partition,
      offset: org_offset.isGiven ? org_offset.number : at.offset,
      timestamp: org_timestamp.isGiven ? org_timestamp.number : at.timestamp,
      retries: retries.isGiven ? retries.number : 0,
    }
    return { kind: 'own', origin, notBefore, failedAt }
  }

  /** The topic name; undefined if it is invalid. Cached, because consecutive copies are mostly of one topic. */
  #topic(): string | undefined {
    const { org_topic } = this.#of
    if (this.#lastTopic !== undefined && org_topic.is(this.#lastTopic.bytes)) return this.#lastTopic.name
    const { bytes } = org_topic
    if (!isWellFormed('org_topic', bytes)) return undefined
    this.#lastTopic = { bytes: Buffer.from(bytes), name: bytes.toString('latin1') }
    return this.#lastTopic.name
  }

  /** The group's own values. If a name occurs several times, the last value counts. */
  values(pairs: readonly HeaderPair[]): Map<Field, Buffer | null> {
    const values = new Map<Field, Buffer | null>()
    for (const [name, value] of pairs) {
      const header = this.#byName.get(name)
      if (header !== undefined) values.set(header.field, value)
    }
    return values
  }

  /** All other headers unchanged and in their order, then `own` in place of the group's headers. */
  replace(pairs: readonly HeaderPair[], own: FieldValues): HeaderPair[] {
    const result = pairs.length === 0 ? [] : pairs.filter(([name]) => !this.isOwn(name))
    for (const header of this.#all) {
      const value = own[header.field]
      if (value !== undefined) result.push(header.with(value))
    }
    return result
  }
}

/** One header of a group: where its value is in the record being read, and the pair that was last written. */
class OwnHeader {
  #within: Buffer | undefined
  /** -1: the value is null. */
  #from = 0
  #end = 0
  #number: number | undefined
  #lastValue: string | number | undefined
  #lastPair: HeaderPair | undefined

  constructor(
    readonly field: Field,
    readonly name: string,
  ) {}

  /** Called per occurrence: the last one counts. */
  found(bytes: Buffer, from: number, end: number): void {
    this.#within = bytes
    this.#from = from
    this.#end = end
    this.#number = undefined
  }

  /** Drops the reference to the record's bytes. */
  forget(): void {
    this.#within = undefined
  }

  get isGiven(): boolean {
    return this.#within !== undefined
  }

  get bytes(): Buffer | null {
    return this.#from < 0 ? null : this.#within!.subarray(this.#from, this.#end)
  }

  is(bytes: Buffer): boolean {
    const within = this.#within!
    const from = this.#from
    if (from < 0 || this.#end - from !== bytes.length) return false
    for (let at = 0; at < bytes.length; at++) if (bytes[at] !== within[from + at]) return false
    return true
  }

  /** NaN: the value is not an integer in decimal digits. */
  get number(): number {
    this.#number ??= this.#from < 0 ? Number.NaN : decimal(this.#within!, this.#from, this.#end)
    return this.#number
  }

  /** Reuses the pair of the last value, because records that fail together mostly fail alike. */
  with(value: Buffer | string | number): HeaderPair {
    if (Buffer.isBuffer(value)) return [this.name, value]
    if (this.#lastPair === undefined || this.#lastValue !== value) {
      this.#lastPair = [this.name, text(String(value), textLimits[this.field])]
      this.#lastValue = value
    }
    return this.#lastPair
  }
}

const noBytes = Buffer.alloc(0)

function malformed({ name }: OwnHeader, problem: string): OwnHeaders {
  return { kind: 'malformed', error: new MalformedHeadersError(`header ${name} ${problem}`) }
}

/** Whether a value is valid for its header. Texts that only people read may be anything. */
export function isWellFormed(field: Field, value: Buffer | null): value is Buffer {
  if (field === 'org_topic')
    return value !== null && value.length <= longestTopic && isTopicName(value.toString('latin1'))
  if (!(field in ranges)) return true
  return value !== null && isInRange(field as keyof typeof ranges, decimal(value, 0, value.length))
}

/** An integer in decimal digits; NaN for anything else. Parsed from the bytes for speed: a retry has eight of them. */
function decimal(bytes: Buffer, from: number, end: number): number {
  const isNegative = bytes[from] === 0x2d
  const first = isNegative ? from + 1 : from
  if (first >= end || end - from > longestNumber) return Number.NaN
  let number = 0
  for (let at = first; at < end; at++) {
    const digit = bytes[at]! - 0x30
    if (digit < 0 || digit > 9) return Number.NaN
    number = number * 10 + digit
  }
  return isNegative ? 0 - number : number
}

/** Whether a number can be read again after it was written to its header. */
export function isInRange(field: keyof typeof ranges, value: number): boolean {
  const [min, max] = ranges[field]
  return value >= min && value <= max
}

/** Whether Kafka accepts it as a topic name. */
export function isTopicName(name: string): boolean {
  return name.length <= longestTopic && /^[\w.-]+$/.test(name) && name !== '.' && name !== '..'
}

/** The delay that a copy was written with, ms; 0: none. */
export function ownDelay({ notBefore, failedAt }: OwnHeaders & { kind: 'own' }): number {
  if (notBefore === undefined) return 0
  return failedAt === undefined ? longestDelay : Math.max(0, notBefore - failedAt)
}

/**
 * How long a copy read at `now` has to wait, ms. Never longer than its own delay: if the clocks disagree, waiting the whole
 * delay from now on is always enough.
 */
export function dueIn(headers: OwnHeaders & { kind: 'own' }, now: number): number {
  const { notBefore = 0 } = headers
  return Math.min(Math.max(0, notBefore - now), ownDelay(headers))
}

/** UTF-8 of at most `limit` bytes, cut between characters. A lone surrogate becomes U+FFFD. */
function text(value: string, limit = Number.POSITIVE_INFINITY): Buffer {
  // Cut before encoding, because messages may be megabytes. A UTF-16 unit takes at least one byte.
  const bytes = Buffer.from(value.length > limit ? value.slice(0, limit) : value)
  if (bytes.length <= limit) return bytes
  let end = limit
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}

function shown(value: Buffer | null): string {
  if (value === null) return 'null'
  const start = JSON.stringify(value.subarray(0, 40).toString())
  return value.length > 40 ? `${start}… (${value.length} bytes)` : start
}
