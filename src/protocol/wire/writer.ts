import { UUID_BYTES, type Uuid } from './uuid.js'

/** The length of a string field is an int16. Kafka limits compact strings to the same length. */
const LONGEST_STRING = 0x7fff
/** Larger byte fields are copied once, at the end, instead of into a growing buffer. */
const WORTH_REFERRING = 4_096
const FIRST_BUFFER = 256
/** Buffers double up to this size. */
const LARGEST_BUFFER = 64 * 1024

/**
 * Writes Kafka's primitive types, one after the other. The counterpart of `Reader`.
 *
 * Throws a `RangeError` if a value does not fit its type. Large byte fields are referenced, and copied only by `toBuffer`.
 */
export class Writer {
  readonly #parts: Buffer[] = []
  #buffer = Buffer.allocUnsafe(FIRST_BUFFER)
  /** The start of the bytes that are not among the parts yet. */
  #from = 0
  #at = 0
  #partBytes = 0

  /** Bytes written so far. */
  get length(): number {
    return this.#partBytes + this.#at - this.#from
  }

  /** Everything written, in its own memory. */
  toBuffer(): Buffer {
    return Buffer.concat([...this.#parts, this.#buffer.subarray(this.#from, this.#at)], this.length)
  }

  // ── Numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  boolean(value: boolean): void {
    this.int8(value ? 1 : 0)
  }

  int8(value: number): void {
    const at = this.#reserve(1)
    this.#buffer.writeInt8(integer(value), at)
  }

  int16(value: number): void {
    const at = this.#reserve(2)
    this.#buffer.writeInt16BE(integer(value), at)
  }

  uint16(value: number): void {
    const at = this.#reserve(2)
    this.#buffer.writeUInt16BE(integer(value), at)
  }

  int32(value: number): void {
    const at = this.#reserve(4)
    this.#buffer.writeInt32BE(integer(value), at)
  }

  uint32(value: number): void {
    const at = this.#reserve(4)
    this.#buffer.writeUInt32BE(integer(value), at)
  }

  int64(value: bigint): void {
    const at = this.#reserve(8)
    this.#buffer.writeBigInt64BE(value, at)
  }

  /** A number as an int64; it must be an integer within ±(2^53 - 1). */
  safeInt64(value: number): void {
    if (!Number.isSafeInteger(value)) throw new RangeError(`must be an integer within ±(2^53 - 1) (got ${value})`)
    const at = this.#reserve(8)
    const high = Math.floor(value / 0x1_0000_0000)
    this.#buffer.writeInt32BE(high, at)
    this.#buffer.writeUInt32BE(value - high * 0x1_0000_0000, at + 4)
  }

  float64(value: number): void {
    const at = this.#reserve(8)
    this.#buffer.writeDoubleBE(value, at)
  }

  /** An unsigned varint of at most 32 bits. */
  uvarint(value: number): void {
    if (!(Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff)) {
      throw new RangeError(`must be an integer from 0 to 2^32 - 1 (got ${value})`)
    }
    let rest = value
    for (; rest > 127; rest >>>= 7) this.#byte((rest & 127) | 128)
    this.#byte(rest)
  }

  /** A zigzag varint of at most 32 bits. */
  varint(value: number): void {
    if ((value | 0) !== value) throw new RangeError(`must be an integer of 32 bits (got ${value})`)
    this.uvarint(((value << 1) ^ (value >> 31)) >>> 0)
  }

  /** A zigzag varint of at most 64 bits. */
  varlong(value: bigint): void {
    if (BigInt.asIntN(64, value) !== value) throw new RangeError(`must be an integer of 64 bits (got ${value})`)
    let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
    for (; rest > 127n; rest >>= 7n) this.#byte(Number(rest & 127n) | 128)
    this.#byte(Number(rest))
  }

  uuid(value: Uuid): void {
    const bytes = Buffer.from(value, 'base64url')
    if (bytes.length !== UUID_BYTES) throw new RangeError(`must be a UUID of 16 bytes in base64url (got '${value}')`)
    this.#append(bytes)
  }

  // ── Strings and bytes ────────────────────────────────────────────────────────────────────────────────────────────

  string(value: string): void {
    const length = stringBytes(value)
    this.int16(length)
    this.#text(value, length)
  }

  nullableString(value: string | null): void {
    if (value === null) this.int16(-1)
    else this.string(value)
  }

  compactString(value: string): void {
    const length = stringBytes(value)
    this.uvarint(length + 1)
    this.#text(value, length)
  }

  compactNullableString(value: string | null): void {
    if (value === null) this.uvarint(0)
    else this.compactString(value)
  }

  dataBytes(value: Buffer): void {
    this.int32(value.length)
    this.#append(value)
  }

  nullableBytes(value: Buffer | null): void {
    if (value === null) this.int32(-1)
    else this.dataBytes(value)
  }

  compactBytes(value: Buffer): void {
    this.uvarint(value.length + 1)
    this.#append(value)
  }

  compactNullableBytes(value: Buffer | null): void {
    if (value === null) this.uvarint(0)
    else this.compactBytes(value)
  }

  /** Bytes without a length, such as an encoded message. */
  raw(value: Buffer): void {
    this.#append(value)
  }

  // ── Arrays and structs ───────────────────────────────────────────────────────────────────────────────────────────

  array<T>(values: readonly T[], element: (value: T) => void): void {
    this.int32(values.length)
    for (const value of values) element(value)
  }

  nullableArray<T>(values: readonly T[] | null, element: (value: T) => void): void {
    if (values === null) this.int32(-1)
    else this.array(values, element)
  }

  compactArray<T>(values: readonly T[], element: (value: T) => void): void {
    this.uvarint(values.length + 1)
    for (const value of values) element(value)
  }

  compactNullableArray<T>(values: readonly T[] | null, element: (value: T) => void): void {
    if (values === null) this.uvarint(0)
    else this.compactArray(values, element)
  }

  /** A struct after a byte: -1 for null, otherwise 1. */
  nullableStruct<T>(value: T | null, struct: (value: T) => void): void {
    this.int8(value === null ? -1 : 1)
    if (value !== null) struct(value)
  }

  /** The tagged fields at the end of a flexible struct (KIP-482), in the order of their tags. */
  tags(fields: readonly (readonly [tag: number, field: Buffer])[] = []): void {
    this.uvarint(fields.length)
    for (const [tag, field] of fields) {
      this.uvarint(tag)
      this.uvarint(field.length)
      this.#append(field)
    }
  }

  #text(value: string, length: number): void {
    const at = this.#reserve(length)
    this.#buffer.write(value, at, length, 'utf8')
  }

  #byte(value: number): void {
    const at = this.#reserve(1)
    this.#buffer[at] = value
  }

  #append(bytes: Buffer): void {
    if (bytes.length >= WORTH_REFERRING) {
      this.#part(this.#buffer.subarray(this.#from, this.#at))
      this.#from = this.#at
      this.#part(bytes)
      return
    }
    const at = this.#reserve(bytes.length)
    bytes.copy(this.#buffer, at)
  }

  #part(bytes: Buffer): void {
    this.#parts.push(bytes)
    this.#partBytes += bytes.length
  }

  /** Reserves `count` bytes and returns where they begin. */
  #reserve(count: number): number {
    if (count > this.#buffer.length - this.#at) {
      this.#part(this.#buffer.subarray(this.#from, this.#at))
      this.#buffer = Buffer.allocUnsafe(Math.max(count, Math.min(2 * this.#buffer.length, LARGEST_BUFFER)))
      this.#from = 0
      this.#at = 0
    }
    const at = this.#at
    this.#at = at + count
    return at
  }
}

/** Checked, because Node.js truncates fractions silently. */
function integer(value: number): number {
  if (!Number.isInteger(value)) throw new RangeError(`must be an integer (got ${value})`)
  return value
}

function stringBytes(value: string): number {
  const length = Buffer.byteLength(value)
  if (length > LONGEST_STRING) throw new RangeError(`must be at most ${LONGEST_STRING} bytes of UTF-8 (got ${length})`)
  return length
}
