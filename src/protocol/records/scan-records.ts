import { CorruptBatchError } from './errors.js'
import { next, readVarint, skipVarint } from './varint.js'

/**
 * The numbers kept per record: where it begins, its offset relative to the batch's first offset, and where the length of its
 * value is. One more number at the end says where the last record ends.
 */
export const STRIDE = 3

/** At least one byte for each of: length, attributes, two deltas, the lengths of key and value, the count of headers. */
const SHORTEST_RECORD = 7

/**
 * Finds the records of a batch, and checks every length, so that later reads need no checks. Neither this function nor later
 * reads access bytes outside `from … end`.
 *
 * @throws CorruptBatchError unless there are exactly `count` records, in the order of their offsets, none above
 * `lastDelta`
 */
export function scanRecords(
  bytes: Uint8Array,
  from: number,
  end: number,
  count: number,
  lastDelta: number,
): Int32Array {
  if (count * SHORTEST_RECORD > end - from) throw new CorruptBatchError(`${count} records do not fit into it`)
  const positions = new Int32Array(count * STRIDE + 1)
  let at = from
  let deltaBefore = -1
  for (let i = 0; i < positions.length - 1; i += STRIDE) {
    at = scanRecord(bytes, at, end, positions, i)
    const delta = positions[i + 1]!
    if (delta <= deltaBefore || delta > lastDelta) throw new CorruptBatchError('its records are out of order')
    deltaBefore = delta
  }
  if (at !== end) throw new CorruptBatchError('there are bytes in it after its last record')
  positions[positions.length - 1] = end
  return positions
}

/**
 * Writes the positions of the record at `at` to `positions`, from index `i`. Returns where the record ends.
 *
 * A separate function because V8 discards the code of a loop that it optimises while the loop runs: the first batches of a
 * process deoptimised once each.
 */
function scanRecord(bytes: Uint8Array, at: number, end: number, positions: Int32Array, i: number): number {
  const length = readVarint(bytes, at, end)
  const stop = next + length
  if (length < 0 || stop > end) throw new CorruptBatchError('a record in it has an invalid length')
  positions[i] = at
  positions[i + 1] = readVarint(bytes, skipVarint(bytes, next + 1, stop), stop)
  const valueAt = skipBytes(bytes, next, stop)
  positions[i + 2] = valueAt
  skipHeaders(bytes, skipBytes(bytes, valueAt, stop), stop)
  return stop
}

/** Returns the position after bytes with a length prefix. Any negative length means null. */
function skipBytes(bytes: Uint8Array, at: number, end: number): number {
  const length = readVarint(bytes, at, end)
  const stop = length < 0 ? next : next + length
  if (stop > end) throw new CorruptBatchError('a key, value or header in it has an invalid length')
  return stop
}

function skipHeaders(bytes: Uint8Array, from: number, end: number): void {
  const count = readVarint(bytes, from, end)
  let at = next
  if (count < 0) throw new CorruptBatchError('a record in it has an invalid count of headers')
  // A hostile count stops at the end of the bytes, because each header takes at least two.
  for (let i = 0; i < count; i++) {
    if (readVarint(bytes, at, end) < 0) throw new CorruptBatchError('a header in it has no name')
    at = skipBytes(bytes, skipBytes(bytes, at, end), end)
  }
  if (at !== end) throw new CorruptBatchError('there are bytes in a record of it after its headers')
}
