import fc from 'fast-check'
import type { AnyField } from '../../../src/protocol/schema/field.js'
import type { AnyType } from '../../../src/protocol/schema/type.js'

export type Fields = Readonly<Record<string, AnyType | AnyField>>

export type Values = Readonly<Record<string, unknown>>

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 5 }),
  fc.constantFrom('', 'orders', 'constructor', '__proto__', 'é'.repeat(64)),
)
const int = (bits: number) =>
  fc.oneof(fc.integer({ min: -2, max: 100 }), fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 }))
const uuid = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(id => Buffer.from(id).toString('base64url'))
const bytes = fc.uint8Array({ maxLength: 12 }).map(array => Buffer.from(array))

const primitives = {
  bool: fc.boolean(),
  int8: int(8),
  int16: int(16),
  int32: int(32),
  int64: fc.oneof(fc.bigInt(-2n, 200n), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)),
  offset: fc.oneof(fc.integer({ min: -2, max: 200 }), fc.maxSafeInteger()),
  uuid,
  string: text,
  bytes,
  records: bytes,
} as const

/** Any value of a type that a version can encode. */
export function anyValue({ shape }: AnyType, version: number): fc.Arbitrary<unknown> {
  if (shape.kind === 'struct') return nullable(shape.nullable, anyStruct(shape.fields, version))
  if (shape.kind === 'array') return nullable(shape.nullable, anyArray(shape.element, version))
  if (shape.kind === 'nullable since') {
    const values = anyValue(shape.type, version)
    return version < shape.version ? values.filter(value => value !== null) : values
  }
  return nullable('nullable' in shape && shape.nullable, primitives[shape.kind])
}

/** Any value of a struct: every field of the version, and no other. */
export function anyStruct(fields: Fields, version: number): fc.Arbitrary<Values> {
  const present = Object.entries(fields).filter(([, field]) => isIn(field, version))
  return fc.record(
    Object.fromEntries(
      present.map(([name, field]) => {
        const { type, tag } = 'type' in field ? field : { type: field, tag: undefined }
        const values = anyValue(type, version)
        return [name, tag === undefined ? values : values.map(value => (isAllDefaults(type, value) ? null : value))]
      }),
    ),
  )
}

/** Whether a version has the field. */
export function isIn(field: AnyType | AnyField, version: number): boolean {
  return !('type' in field) || (field.first <= version && version <= field.last)
}

/** The value that decoding returns. It has the defaults of fields that the version does not have. */
export function completed(fields: Fields, version: number, value: Values): Values {
  return Object.fromEntries(
    Object.entries(fields).map(([name, field]) => {
      if (!isIn(field, version)) return [name, (field as AnyField).absent]
      const type = 'type' in field ? field.type : field
      return [name, completedValue(type, version, value[name])]
    }),
  )
}

function completedValue({ shape }: AnyType, version: number, value: unknown): unknown {
  if (value === null) return null
  if (shape.kind === 'nullable since') return completedValue(shape.type, version, value)
  if (shape.kind === 'struct') return completed(shape.fields, version, value as Values)
  if (shape.kind !== 'array') return value
  return (value as unknown[]).map(each => completedValue(shape.element, version, each))
}

/** The JSON that Kafka's own classes write, with numbers beyond 2^53 rounded. */
export function asKafkaJson(fields: Fields, version: number, value: Values): unknown {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([name, field]) => {
      if (!isIn(field, version)) return []
      const content = value[name]
      if ('type' in field && field.tag !== undefined && isDefault(content, field.absent)) return []
      const type = 'type' in field ? field.type : field
      if (type.shape.kind !== 'records' || content === null) return [[name, valueAsJson(type, version, content)]]
      return [[`${name}SizeInBytes`, (content as Buffer).length]]
    }),
  )
}

function valueAsJson({ shape }: AnyType, version: number, value: unknown): unknown {
  if (value === null) return null
  if (Buffer.isBuffer(value)) return value.toString('base64')
  if (typeof value === 'bigint') return Number(value)
  if (shape.kind === 'nullable since') return valueAsJson(shape.type, version, value)
  if (shape.kind === 'struct') return asKafkaJson(shape.fields, version, value as Values)
  if (shape.kind === 'array') return (value as unknown[]).map(each => valueAsJson(shape.element, version, each))
  return value
}

function nullable(is: boolean, values: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return is ? fc.option(values, { freq: 4 }) : values
}

/** Kafka's classes keep some arrays as maps, so no name or id may occur twice. */
function anyArray(element: AnyType, version: number): fc.Arbitrary<unknown[]> {
  const values = anyValue(element, version)
  if (element.shape.kind !== 'struct') return fc.array(values, { maxLength: 2 })
  return fc.uniqueArray(values as fc.Arbitrary<Values>, {
    maxLength: 2,
    selector: value => value.name ?? value.nodeId ?? value.topic ?? value.apiKey ?? value,
  })
}

/** Kafka does not write a tagged struct that has only defaults. */
function isAllDefaults({ shape }: AnyType, value: unknown): boolean {
  if (shape.kind !== 'struct' || value === null) return false
  return Object.entries(shape.fields).every(
    ([name, field]) => 'type' in field && isDefault((value as Values)[name], field.absent),
  )
}

function isDefault(value: unknown, absent: unknown): boolean {
  return value === absent || (Array.isArray(value) && Array.isArray(absent) && value.length + absent.length === 0)
}
