import { CorruptBatchError } from './errors.js'

/** The maximum size of a decompressed batch in bytes, because a small batch can claim any size. Real ones are far smaller. */
export const LARGEST_BATCH = 256 * 1024 * 1024

export function tooLarge(codec: string): CorruptBatchError {
  return new CorruptBatchError(`${codec} expands it to more than ${LARGEST_BATCH / 1024 / 1024} MiB, which is not read`)
}
