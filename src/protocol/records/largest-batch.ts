import { CorruptBatchError } from './errors.js'

/** Bytes that one batch may expand to. A small batch can promise any amount; none that is meant comes near this. */
export const LARGEST_BATCH = 256 * 1024 * 1024

export function tooLarge(codec: string): CorruptBatchError {
  return new CorruptBatchError(`${codec} expands it to more than ${LARGEST_BATCH / 1024 / 1024} MiB, which is not read`)
}
