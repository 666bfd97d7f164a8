import { MalformedMessageError } from './malformed-message-error.js'
import { UUID_BYTES, type Uuid } from './uuid.js'

/**
 * Reads Kafka's primitive types from bytes, one after the other.
 *
 * Every length and count is checked against the remaining bytes before memory is allocated for it. Invalid input throws a
 * `MalformedMessageError`, and no other error. Byte fields are views of the input.
 *
 * Types: "Protocol Primitive Types" of Kafka's protocol guide, and KIP-482 for the compact ones.
 */
export class Reader {
  #at = 0

  constructor(readonly bytes: Buffer) {}

  /** The position of the next read. */
  get position(): number {
    return this.#at
  }

  get remaining(): number {
    return this.bytes.length - this.#at
  }

  // ── Numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** One byte; any value but 0 is true. */
  boolean(): boolean {
    return this.bytes[this.skip(1)] !== 0
  }

  int8(): number {
    return this.bytes.readInt8(this.skip(1))
  }

  int16(): number {
    return this.bytes.readInt16BE(this.skip(2))
  }

  uint16(): number {
    return this.bytes.readUInt16BE(this.skip(2))
  }

  int32(): number {
    return this.bytes.readInt32BE(this.skip(4))
  }

  uint32(): number {
    return this.bytes.readUInt32BE(this.skip(4))
  }

  int64(): bigint {
    return this.bytes.readBigInt64BE(this.skip(8))
  }

  /** An int64, such as an offset, as a number. Throws if it is beyond ±(2^53 - 1). */
  safeInt64(): number {
    const at = this.skip(8)
    const value = this.bytes.readInt32BE(at) * 0x1_0000_0000 + this.bytes.readUInt32BE(at + 4)
    if (!Number.isSafeInteger(value)) throw new MalformedMessageError(`the number at byte ${at} is beyond 2^53 - 1`)
    return value
  }

  float64(): number {
    return this.bytes.readDoubleBE(this.skip(8))
  }

  /** An unsigned varint of at most 32 bits. */
  uvarint(): number {
    const start = this.#at
    let value = 0
    for (let factor = 1; factor <= 2 ** 28; factor *= 128) {
      const byte = this.bytes[this.skip(1)]!
      value += (byte & 127) * factor
      if (byte < 128) {
        if (value > 0xffff_ffff) break
        return value
      }
    }
    throw new MalformedMessageError(`the varint at byte ${start} is longer than 32 bits`)
  }

  /** A zigzag varint of at most 32 bits. */
  varint(): number {
    const value = this.uvarint()
    return (value >>> 1) ^ -(value & 1)
  }

  /** A zigzag varint of at most 64 bits. */
  varlong(): bigint {
    const start = this.#at
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.bytes[this.skip(1)]!
      value |= BigInt(byte & 127) << shift
      if (byte >= 128) continue
      if (value >> 64n !== 0n) break
      return (value >> 1n) ^ -(value & 1n)
    }
    throw new MalformedMessageError(`the varint at byte ${start} is longer than 64 bits`)
  }

  uuid(): Uuid {
    const at = this.skip(UUID_BYTES)
    return this.bytes.toString('base64url', at, at + UUID_BYTES)
  }

  // ── Strings and bytes ────────────────────────────────────────────────────────────────────────────────────────────

  string(): string {
    return this.#present(this.nullableString(), 'string')
  }

  nullableString(): string | null {
    return this.#text(this.int16())
  }

  compactString(): string {
    return this.#present(this.compactNullableString(), 'string')
  }

  compactNullableString(): string | null {
    return this.#text(this.uvarint() - 1)
  }

  dataBytes(): Buffer {
    return this.#present(this.nullableBytes(), 'byte field')
  }

  nullableBytes(): Buffer | null {
    return this.#view(this.int32())
  }

  compactBytes(): Buffer {
    return this.#present(this.compactNullableBytes(), 'byte field')
  }

  compactNullableBytes(): Buffer | null {
    return this.#view(this.uvarint() - 1)
  }

  // ── Arrays and structs ───────────────────────────────────────────────────────────────────────────────────────────

  array<T>(element: () => T): T[] {
    return this.#present(this.nullableArray(element), 'array')
  }

  nullableArray<T>(element: () => T): T[] | null {
    return this.#elements(this.int32(), element)
  }

  compactArray<T>(element: () => T): T[] {
    return this.#present(this.compactNullableArray(element), 'array')
  }

  compactNullableArray<T>(element: () => T): T[] | null {
    return this.#elements(this.uvarint() - 1, element)
  }

  /** A struct after a byte that is -1 for null and 1 otherwise. Other values are refused. */
  nullableStruct<T>(struct: () => T): T | null {
    const at = this.#at
    const presence = this.int8()
    if (presence === -1) return null
    if (presence === 1) return struct()
    throw new MalformedMessageError(`the struct at byte ${at} begins with ${presence} instead of 1 or -1`)
  }

  /**
   * The tagged fields at the end of a flexible struct (KIP-482).
   *
   * `known` is called with each tag and a reader of its field only. It returns whether it knows the tag. The rest of a field
   * is skipped.
   */
  tags(known: (tag: number, field: Reader) => boolean = nothingKnown): void {
    const count = this.uvarint()
    // A tag and a size take at least one byte each.
    if (count * 2 > this.remaining) throw this.#tooMany(count, 'tagged fields')
    for (let i = 0; i < count; i++) {
      const tag = this.uvarint()
      const size = this.uvarint()
      const start = this.skip(size)
      known(tag, new Reader(this.bytes.subarray(start, start + size)))
    }
  }

  /** Throws unless all bytes were read. */
  end(): void {
    if (this.remaining > 0) throw new MalformedMessageError(`there are ${this.remaining} bytes after the message`)
  }

  /** Skips `count` bytes and returns where they begin. */
  skip(count: number): number {
    const start = this.#at
    if (count < 0 || count > this.bytes.length - start) {
      throw new MalformedMessageError(`${count} bytes at byte ${start} reach outside a message of ${this.bytes.length}`)
    }
    this.#at = start + count
    return start
  }

  #text(length: number): string | null {
    if (length === -1) return null
    const start = this.skip(length)
    return this.bytes.toString('utf8', start, this.#at)
  }

  #view(length: number): Buffer | null {
    if (length === -1) return null
    const start = this.skip(length)
    return this.bytes.subarray(start, this.#at)
  }

  #elements<T>(count: number, element: () => T): T[] | null {
    if (count === -1) return null
    // Each element takes at least one byte, so a valid count never exceeds the remaining bytes.
    if (count < 0 || count > this.remaining) throw this.#tooMany(count, 'elements')
    const elements: T[] = []
    for (let i = 0; i < count; i++) elements.push(element())
    return elements
  }

  #present<T>(value: T | null, what: string): T {
    if (value === null) throw new MalformedMessageError(`the ${what} before byte ${this.#at} is null and must not be`)
    return value
  }

  #tooMany(count: number, what: string): MalformedMessageError {
    return new MalformedMessageError(`${count} ${what} do not fit into the ${this.remaining} bytes at ${this.#at}`)
  }
}

const nothingKnown = () => false
