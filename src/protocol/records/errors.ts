/** The bytes are not a record batch as Kafka writes it, or were changed since. */
export class CorruptBatchError extends Error {
  override readonly name = 'CorruptBatchError'
}

/** There is no decompressor for the codec of a batch. */
export class UnsupportedCodecError extends Error {
  override readonly name = 'UnsupportedCodecError'

  constructor(
    /** The name in Kafka, or the number if Kafka has no name for it. */
    readonly codec: string,
  ) {
    super(`it is compressed with ${codec}, which cannot be read here${REMEDIES[codec] ?? ''}`)
  }
}

const REMEDIES: Readonly<Record<string, string>> = {
  lz4: '; pass a codec for it',
  zstd: '; pass a codec for it, or use Node.js 22.15 or newer',
}
