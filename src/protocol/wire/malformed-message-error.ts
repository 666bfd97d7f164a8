/**
 * The bytes are not the expected message: they are cut off, or contain an invalid length, count or number.
 *
 * The decoders in src/protocol throw no other error, whatever the bytes are.
 */
export class MalformedMessageError extends Error {
  override readonly name = 'MalformedMessageError'
}
