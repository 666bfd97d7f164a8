/** The bytes are not a record batch as Kafka writes it, or not the bytes that were written. */
export class CorruptBatchError extends Error {
  override readonly name = 'CorruptBatchError'
}

/** A batch is compressed by a codec there is no decompression for here. */
export class UnsupportedCodecError extends Error {
  override readonly name = 'UnsupportedCodecError'

  constructor(
    /** As Kafka names it, or its number where Kafka has no name for it. */
    readonly codec: string,
  ) {
    super(`it is compressed with ${codec}, which cannot be read here${REMEDIES[codec] ?? ''}`)
  }
}

const REMEDIES: Readonly<Record<string, string>> = {
  lz4: '; pass a codec for it',
  zstd: '; pass a codec for it, or use Node.js 22.15 or newer',
}
