import type { Reader } from '../wire/reader.js'
import { Writer } from '../wire/writer.js'
import { type AnyField, defaulted, type Field } from './field.js'
import type { AnyType, Format, Shape, Type } from './type.js'

export type Fields = Readonly<Record<string, AnyType | AnyField>>

type Optional<F extends Fields> = { [K in keyof F]: F[K] extends AnyField ? K : never }[keyof F]
type ReadBy<F> = F extends Field<infer Read, infer _> ? Read : F extends Type<infer Read, infer _> ? Read : never
type WrittenBy<F> = F extends Field<infer _, infer Written> ? Written : F extends Type<infer _, infer W> ? W : never

/** The result of reading a struct with these fields. A field that the version lacks has its default. */
export type ReadStruct<F extends Fields> = { readonly [K in keyof F]: ReadBy<F[K]> }
/** The value to write. Fields with a default may be omitted. */
export type WrittenStruct<F extends Fields> = { readonly [K in Exclude<keyof F, Optional<F>>]: WrittenBy<F[K]> } & {
  readonly [K in Optional<F>]?: WrittenBy<F[K]> | undefined
}

/** A value was given for a field that the version to write lacks, and that must not be dropped. */
export class UnsupportedFieldError extends Error {
  override readonly name = 'UnsupportedFieldError'

  constructor(
    readonly field: string,
    readonly version: number,
  ) {
    super(`version ${version} has no field ${field}`)
  }
}

interface NamedField extends AnyField {
  readonly name: string
}

/** The fields of one version: ordinary ones, tagged ones, and those that it lacks. */
interface Layout {
  readonly placed: readonly NamedField[]
  readonly tagged: readonly NamedField[]
  readonly missing: readonly NamedField[]
}

export class Struct<F extends Fields> implements Type<ReadStruct<F>, WrittenStruct<F>> {
  readonly #fields: readonly NamedField[]
  readonly #layouts: Layout[] = []

  readonly shape: Shape

  constructor(readonly fields: F) {
    this.shape = { kind: 'struct', nullable: false, fields }
    this.#fields = Object.entries(fields).map(([name, field]) => ({
      name,
      ...('type' in field ? field : { ...defaulted(field, undefined) }),
    }))
  }

  read(reader: Reader, format: Format): ReadStruct<F> {
    const { placed, tagged, missing } = this.#layout(format.version)
    const value: Record<string, unknown> = {}
    for (const { name, type } of placed) value[name] = type.read(reader, format)
    for (const { name, absent } of missing) value[name] = absent
    for (const { name, absent } of tagged) value[name] = absent
    if (format.flexible) {
      reader.tags((tag, field) => {
        const known = tagged.find(each => each.tag === tag)
        if (known !== undefined) value[known.name] = known.type.read(field, format)
        return known !== undefined
      })
    }
    return value as ReadStruct<F>
  }

  write(writer: Writer, value: WrittenStruct<F>, format: Format): void {
    const given = value as Readonly<Record<string, unknown>>
    const { placed, tagged, missing } = this.#layout(format.version)
    for (const { name, absent, ignorable } of missing) {
      if (!ignorable && !isSame(given[name], absent)) throw new UnsupportedFieldError(name, format.version)
    }
    for (const { name, type, absent } of placed) {
      const content = given[name]
      type.write(writer, content === undefined ? absent : content, format)
    }
    if (format.flexible) writer.tags(this.#tags(tagged, given, format))
  }

  #tags(tagged: readonly NamedField[], given: Readonly<Record<string, unknown>>, format: Format) {
    return tagged.flatMap(({ name, tag, type, absent }): (readonly [number, Buffer])[] => {
      const content = given[name]
      if (isSame(content, absent)) return []
      const writer = new Writer()
      type.write(writer, content, format)
      return [[tag!, writer.toBuffer()]]
    })
  }

  #layout(version: number): Layout {
    let layout = this.#layouts[version]
    if (layout === undefined) {
      const present = this.#fields.filter(({ first, last }) => first <= version && version <= last)
      layout = {
        placed: present.filter(({ tag }) => tag === undefined),
        tagged: present.filter(({ tag }) => tag !== undefined).sort((a, b) => a.tag! - b.tag!),
        missing: this.#fields.filter(({ first, last }) => version < first || last < version),
      }
      this.#layouts[version] = layout
    }
    return layout
  }
}

/** A struct with these fields, in the order of the wire. */
export function struct<F extends Fields>(fields: F): Struct<F> {
  return new Struct(fields)
}

/** A struct after a byte that says whether it is null. */
export function nullableStruct<F extends Fields>(of: Struct<F>): Type<ReadStruct<F> | null, WrittenStruct<F> | null> {
  return {
    shape: { kind: 'struct', nullable: true, fields: of.fields },
    read: (reader, format) => reader.nullableStruct(() => of.read(reader, format)),
    write: (writer, value, format) => writer.nullableStruct(value, each => of.write(writer, each, format)),
  }
}

/** A tagged field with a struct: null if it is absent; null is never written. */
export function optionalStruct<F extends Fields>(of: Struct<F>): Type<ReadStruct<F> | null, WrittenStruct<F> | null> {
  return {
    shape: { kind: 'struct', nullable: true, fields: of.fields },
    read: (reader, format) => of.read(reader, format),
    write: (writer, value, format) => of.write(writer, value!, format),
  }
}

function isSame(given: unknown, absent: unknown): boolean {
  if (given === undefined || given === absent) return true
  return Array.isArray(given) && given.length === 0 && Array.isArray(absent) && absent.length === 0
}
