import type { Uuid } from '../wire/uuid.js'
import type { Type } from './type.js'

// One constant for each type of Kafka's message definitions, with the same name if TypeScript allows it.

export const bool: Type<boolean> = {
  shape: { kind: 'bool' },
  read: reader => reader.boolean(),
  write: (writer, value) => writer.boolean(value),
}

export const int8: Type<number> = {
  shape: { kind: 'int8' },
  read: reader => reader.int8(),
  write: (writer, value) => writer.int8(value),
}

export const int16: Type<number> = {
  shape: { kind: 'int16' },
  read: reader => reader.int16(),
  write: (writer, value) => writer.int16(value),
}

export const int32: Type<number> = {
  shape: { kind: 'int32' },
  read: reader => reader.int32(),
  write: (writer, value) => writer.int32(value),
}

export const int64: Type<bigint> = {
  shape: { kind: 'int64' },
  read: reader => reader.int64(),
  write: (writer, value) => writer.int64(value),
}

/** An int64 offset as a number. Offsets beyond 2^53 - 1 are refused when reading and writing. */
export const offset: Type<number> = {
  shape: { kind: 'offset' },
  read: reader => reader.safeInt64(),
  write: (writer, value) => writer.safeInt64(value),
}

export const uuid: Type<Uuid> = {
  shape: { kind: 'uuid' },
  read: reader => reader.uuid(),
  write: (writer, value) => writer.uuid(value),
}

export const string: Type<string> = {
  shape: { kind: 'string', nullable: false },
  read: (reader, { flexible }) => (flexible ? reader.compactString() : reader.string()),
  write: (writer, value, { flexible }) => (flexible ? writer.compactString(value) : writer.string(value)),
}

export const nullableString: Type<string | null> = {
  shape: { kind: 'string', nullable: true },
  read: (reader, { flexible }) => (flexible ? reader.compactNullableString() : reader.nullableString()),
  write: (writer, value, { flexible }) =>
    flexible ? writer.compactNullableString(value) : writer.nullableString(value),
}

/** Bytes are read as views of the message. */
export const bytes: Type<Buffer> = {
  shape: { kind: 'bytes', nullable: false },
  read: (reader, { flexible }) => (flexible ? reader.compactBytes() : reader.dataBytes()),
  write: (writer, value, { flexible }) => (flexible ? writer.compactBytes(value) : writer.dataBytes(value)),
}

export const nullableBytes: Type<Buffer | null> = {
  shape: { kind: 'bytes', nullable: true },
  read: (reader, { flexible }) => (flexible ? reader.compactNullableBytes() : reader.nullableBytes()),
  write: (writer, value, { flexible }) => (flexible ? writer.compactNullableBytes(value) : writer.nullableBytes(value)),
}

/** Record batches, which are bytes within a message; see `records/`. */
export const records: Type<Buffer | null> = { ...nullableBytes, shape: { kind: 'records', nullable: true } }
