import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MalformedMessageError } from '../../src/protocol/wire/malformed-message-error.js'
import { Reader } from '../../src/protocol/wire/reader.js'
import { Writer } from '../../src/protocol/wire/writer.js'

const bytes: fc.Arbitrary<Buffer> = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map(array => Buffer.from(array)),
  // Long enough to be referred to instead of copied.
  fc.constantFrom(4_095, 4_096, 9_000).map(length => Buffer.alloc(length, 7)),
)
const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 30 }),
  fc.constantFrom('x'.repeat(127), 'é'.repeat(5_000)),
)
const int = (bits: number) => fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 })
const uint = (bits: number) => fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 2 ** bits - 1 }))
const long = fc.oneof(fc.bigInt(-200n, 200n), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n))

/** For each type: how it is written and read, and values of it. */
interface Type<T = unknown> {
  readonly name: string
  readonly values: fc.Arbitrary<T>
  write(writer: Writer, value: T): void
  read(reader: Reader): T
}

const type = <T>(
  name: string,
  values: fc.Arbitrary<T>,
  write: (writer: Writer, value: T) => void,
  read: (reader: Reader) => T,
): Type => ({ name, values, write, read }) as Type

const numbers = fc.array(int(32), { maxLength: 5 })
const types: readonly Type[] = [
  type(
    'boolean',
    fc.boolean(),
    (w, v) => w.boolean(v),
    r => r.boolean(),
  ),
  type(
    'int8',
    int(8),
    (w, v) => w.int8(v),
    r => r.int8(),
  ),
  type(
    'int16',
    int(16),
    (w, v) => w.int16(v),
    r => r.int16(),
  ),
  type(
    'uint16',
    uint(16),
    (w, v) => w.uint16(v),
    r => r.uint16(),
  ),
  type(
    'int32',
    int(32),
    (w, v) => w.int32(v),
    r => r.int32(),
  ),
  type(
    'uint32',
    uint(32),
    (w, v) => w.uint32(v),
    r => r.uint32(),
  ),
  type(
    'int64',
    long,
    (w, v) => w.int64(v),
    r => r.int64(),
  ),
  type(
    'safeInt64',
    fc.maxSafeInteger(),
    (w, v) => w.safeInt64(v),
    r => r.safeInt64(),
  ),
  type(
    'float64',
    fc.double(),
    (w, v) => w.float64(v),
    r => r.float64(),
  ),
  type(
    'uvarint',
    uint(32),
    (w, v) => w.uvarint(v),
    r => r.uvarint(),
  ),
  type(
    'varint',
    fc.oneof(int(8), int(32)),
    (w, v) => w.varint(v),
    r => r.varint(),
  ),
  type(
    'varlong',
    long,
    (w, v) => w.varlong(v),
    r => r.varlong(),
  ),
  type(
    'uuid',
    fc.uint8Array({ minLength: 16, maxLength: 16 }).map(id => Buffer.from(id).toString('base64url')),
    (w, v) => w.uuid(v),
    r => r.uuid(),
  ),
  type(
    'string',
    text,
    (w, v) => w.string(v),
    r => r.string(),
  ),
  type(
    'nullable string',
    fc.option(text),
    (w, v) => w.nullableString(v),
    r => r.nullableString(),
  ),
  type(
    'compact string',
    text,
    (w, v) => w.compactString(v),
    r => r.compactString(),
  ),
  type(
    'compact nullable string',
    fc.option(text),
    (w, v) => w.compactNullableString(v),
    r => r.compactNullableString(),
  ),
  type(
    'bytes',
    bytes,
    (w, v) => w.dataBytes(v),
    r => r.dataBytes(),
  ),
  type(
    'nullable bytes',
    fc.option(bytes),
    (w, v) => w.nullableBytes(v),
    r => r.nullableBytes(),
  ),
  type(
    'compact bytes',
    bytes,
    (w, v) => w.compactBytes(v),
    r => r.compactBytes(),
  ),
  type(
    'compact nullable bytes',
    fc.option(bytes),
    (w, v) => w.compactNullableBytes(v),
    r => r.compactNullableBytes(),
  ),
  type(
    'array',
    numbers,
    (w, v) => w.array(v, each => w.int32(each)),
    r => r.array(() => r.int32()),
  ),
  type(
    'nullable array',
    fc.option(numbers),
    (w, v) => w.nullableArray(v, each => w.int32(each)),
    r => r.nullableArray(() => r.int32()),
  ),
  type(
    'compact array',
    numbers,
    (w, v) => w.compactArray(v, each => w.int32(each)),
    r => r.compactArray(() => r.int32()),
  ),
  type(
    'compact nullable array',
    fc.option(numbers),
    (w, v) => w.compactNullableArray(v, each => w.int32(each)),
    r => r.compactNullableArray(() => r.int32()),
  ),
  type(
    'nullable struct',
    fc.option(int(16)),
    (w, v) => w.nullableStruct(v, each => w.int16(each)),
    r => r.nullableStruct(() => r.int16()),
  ),
  type(
    'tags',
    fc.uniqueArray(fc.tuple(uint(16), bytes), { maxLength: 4, selector: ([tag]) => tag }),
    (w, v) => w.tags(v),
    r => {
      const fields: [number, Buffer][] = []
      r.tags((tag, field) => fields.push([tag, field.bytes]) > 0)
      return fields
    },
  ),
]

/** Bytes as text: comparing them element by element takes seconds. */
const shown = (value: unknown): unknown => {
  if (Buffer.isBuffer(value)) return value.toString('base64')
  return Array.isArray(value) ? value.map(shown) : value
}

const written = (values: readonly (readonly [Type, unknown])[]) => {
  const writer = new Writer()
  for (const [each, value] of values) each.write(writer, value)
  const encoded = writer.toBuffer()
  expect(encoded.length).toBe(writer.length)
  return encoded
}

const sequence = fc.array(
  fc.constantFrom(...types).chain(each => each.values.map(value => [each, value] as const)),
  { maxLength: 12 },
)

describe('the wire', () => {
  it.each(types)('encodes what it decodes: $name', each => {
    fc.assert(
      fc.property(each.values, value => {
        const reader = new Reader(written([[each, value]]))
        expect(shown(each.read(reader))).toEqual(shown(value))
        reader.end()
      }),
    )
  })

  it('encodes and decodes any sequence of types', () => {
    fc.assert(
      fc.property(sequence, values => {
        const reader = new Reader(written(values))
        for (const [each, value] of values) expect(shown(each.read(reader))).toEqual(shown(value))
        reader.end()
      }),
    )
  })

  it.each(types)('refuses bytes cut off at any point with a MalformedMessageError: $name', each => {
    fc.assert(
      fc.property(each.values, value => {
        const encoded = written([[each, value]])
        const cuts = encoded.length < 100 ? encoded.length : 100
        for (let cut = 0; cut < cuts; cut++) {
          expect(() => each.read(new Reader(encoded.subarray(0, cut)))).toThrow(MalformedMessageError)
        }
      }),
      { numRuns: 30 },
    )
  })

  it.each(types)('decodes any bytes, or refuses them with a MalformedMessageError: $name', each => {
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      // Lengths and counts of any sign and size, in every encoding.
      fc
        .tuple(
          fc.constantFrom(
            '7fffffff',
            '80000000',
            'ffffffff',
            '7fff',
            '8000',
            'fffe',
            'ffffffff0f',
            'ffffffff7f',
            'ffffffffffffffffff01',
            '8080808080808080808080',
          ),
          fc.uint8Array({ maxLength: 20 }),
        )
        .map(([head, rest]) => Buffer.concat([Buffer.from(head, 'hex'), rest])),
    )
    fc.assert(
      fc.property(hostile, array => {
        const reader = new Reader(Buffer.from(array))
        try {
          each.read(reader)
          expect(reader.position).toBeLessThanOrEqual(array.length)
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedMessageError)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('allocates nothing for a count that the bytes cannot hold', () => {
    let read = 0
    for (const head of ['7fffffff', '00000005']) {
      expect(() => new Reader(Buffer.from(head, 'hex')).array(() => read++)).toThrow(/do not fit into the 0 bytes/)
    }
    expect(() => new Reader(Buffer.from('ffffffff0f', 'hex')).compactArray(() => read++)).toThrow(MalformedMessageError)
    expect(() => new Reader(Buffer.from('ffffffff0f', 'hex')).tags(() => read++ > 0)).toThrow(MalformedMessageError)
    expect(read).toBe(0)
  })

  it('writes the bytes of the protocol guide', () => {
    const hex = (write: (writer: Writer) => void) => {
      const writer = new Writer()
      write(writer)
      return writer.toBuffer().toString('hex')
    }
    expect(hex(w => w.string('abc'))).toBe('0003616263')
    expect(hex(w => w.compactString('abc'))).toBe('04616263')
    expect(hex(w => w.compactNullableString(null))).toBe('00')
    expect(hex(w => w.nullableString(null))).toBe('ffff')
    expect(hex(w => w.nullableBytes(null))).toBe('ffffffff')
    expect(hex(w => w.varint(-1))).toBe('01')
    expect(hex(w => w.varint(300))).toBe('d804')
    expect(hex(w => w.uvarint(300))).toBe('ac02')
    expect(hex(w => w.varlong(-(2n ** 63n)))).toBe('ffffffffffffffffff01')
    expect(hex(w => w.tags([[1, Buffer.from([5])]]))).toBe('01010105')
    expect(hex(w => w.uuid('AAAAAAAAAAAAAAAAAAAAAQ'))).toBe('00000000000000000000000000000001')
    expect(hex(w => w.nullableStruct(null, () => {}))).toBe('ff')
  })

  it('throws a RangeError if a value does not fit its type', () => {
    const writer = new Writer()
    expect(() => writer.int8(128)).toThrow(RangeError)
    expect(() => writer.int32(1.5)).toThrow(RangeError)
    expect(() => writer.int32(2 ** 31)).toThrow(RangeError)
    expect(() => writer.int64(2n ** 63n)).toThrow(RangeError)
    expect(() => writer.safeInt64(2 ** 53)).toThrow(RangeError)
    expect(() => writer.uvarint(-1)).toThrow(RangeError)
    expect(() => writer.varint(2 ** 31)).toThrow(RangeError)
    expect(() => writer.string('x'.repeat(32_768))).toThrow(RangeError)
    expect(() => writer.compactString('é'.repeat(16_384))).toThrow(RangeError)
    expect(() => writer.uuid('short')).toThrow(RangeError)
  })
})
