import { MalformedMessageError } from '../wire/malformed-message-error.js'
import type { Type } from './type.js'

/** A nullable type that must not be null before a version ("nullableVersions" of Kafka's definitions). */
export function nullableSince<Read, Written>(
  version: number,
  type: Type<Read | null, Written | null>,
): Type<Read | null, Written | null> {
  return {
    shape: { kind: 'nullable since', version, type },
    read(reader, format) {
      const value = type.read(reader, format)
      if (value === null && format.version < version) {
        throw new MalformedMessageError(`a field is null, and must not be before version ${version}`)
      }
      return value
    },
    write(writer, value, format) {
      if (value === null && format.version < version) {
        throw new RangeError(`must not be null before version ${version}`)
      }
      type.write(writer, value, format)
    },
  }
}
