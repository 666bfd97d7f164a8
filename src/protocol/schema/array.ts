import type { Type } from './type.js'

export function array<Read, Written>(element: Type<Read, Written>): Type<readonly Read[], readonly Written[]> {
  return {
    shape: { kind: 'array', nullable: false, element },
    read(reader, format) {
      const read = () => element.read(reader, format)
      return format.flexible ? reader.compactArray(read) : reader.array(read)
    },
    write(writer, values, format) {
      const write = (value: Written) => element.write(writer, value, format)
      if (format.flexible) writer.compactArray(values, write)
      else writer.array(values, write)
    },
  }
}

export function nullableArray<Read, Written>(
  element: Type<Read, Written>,
): Type<readonly Read[] | null, readonly Written[] | null> {
  return {
    shape: { kind: 'array', nullable: true, element },
    read(reader, format) {
      const read = () => element.read(reader, format)
      return format.flexible ? reader.compactNullableArray(read) : reader.nullableArray(read)
    },
    write(writer, values, format) {
      const write = (value: Written) => element.write(writer, value, format)
      if (format.flexible) writer.compactNullableArray(values, write)
      else writer.nullableArray(values, write)
    },
  }
}
