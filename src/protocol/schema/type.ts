import type { Reader } from '../wire/reader.js'
import type { Writer } from '../wire/writer.js'
import type { AnyField } from './field.js'

/** The version of a message, and whether it is a flexible version (KIP-482). */
export interface Format {
  readonly version: number
  readonly flexible: boolean
}

/** The structure of a type, for code that walks over definitions instead of bytes. */
export type Shape =
  | { readonly kind: 'bool' | 'int8' | 'int16' | 'int32' | 'int64' | 'offset' | 'uuid' }
  | { readonly kind: 'string' | 'bytes' | 'records'; readonly nullable: boolean }
  | { readonly kind: 'array'; readonly nullable: boolean; readonly element: AnyType }
  | { readonly kind: 'nullable since'; readonly version: number; readonly type: AnyType }
  | {
      readonly kind: 'struct'
      readonly nullable: boolean
      readonly fields: Readonly<Record<string, AnyType | AnyField>>
    }

/** A type of Kafka's message definitions. `Read` is the result of reading, `Written` the value to write. */
export interface Type<Read, Written = Read> {
  readonly shape: Shape
  read(reader: Reader, format: Format): Read
  write(writer: Writer, value: Written, format: Format): void
}

// biome-ignore lint/suspicious/noExplicitAny: the type of the values does not matter here.
export type AnyType = Type<any, any>
