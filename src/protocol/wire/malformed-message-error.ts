/**
 * The bytes are not the message that they should be: cut off, or with a length, count or number that cannot be.
 *
 * The only error that decoders of this room throw, whatever bytes they are given.
 */
export class MalformedMessageError extends Error {
  override readonly name = 'MalformedMessageError'
}
