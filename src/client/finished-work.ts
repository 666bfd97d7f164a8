/**
 * Completed records behind a committed position, as they are stored in the commit's metadata. So a record that never settles,
 * or a retry that is not due, causes only its own redelivery after a restart, and not that of everything after it.
 *
 * The metadata holds ranges of offsets, both ends included, in which every delivered record is completed. Offsets in a range
 * that were not delivered were not visible (markers, aborted, compacted), and never will be.
 */
export type FinishedRange = readonly [first: number, last: number]

/** The default of Kafka's `offset.metadata.max.bytes`. The text is ASCII. */
export const metadataLimit = 4_096

const runsFormat = 'rxmika/1r:'
const bitmapFormat = 'rxmika/1b:'
const checkLength = 4

/** How many bytes of ranges fit into a text of at most `limit` characters. */
function payloadLimit(limit: number): number {
  return Math.max(0, Math.floor((limit - runsFormat.length) / 4) * 3 - checkLength)
}

/** The metadata, and how many ranges did not fit: the last ones. */
export interface Remembered {
  readonly metadata: string
  readonly leftOut: number
}

/**
 * @param ranges In ascending order, not adjacent, and none below `position`.
 * @param limit The longest metadata, in characters.
 */
export function encodeFinished(position: number, ranges: readonly FinishedRange[], limit = metadataLimit): Remembered {
  if (ranges.length === 0) return { metadata: '', leftOut: 0 }
  const maxBytes = payloadLimit(limit)
  const asRuns = encodeRuns(position, ranges, maxBytes)
  const asBitmap = encodeBitmap(position, ranges, maxBytes)
  const bitmapIsBetter =
    asBitmap.leftOut < asRuns.leftOut ||
    (asBitmap.leftOut === asRuns.leftOut && asBitmap.bytes.length < asRuns.bytes.length)
  const [format, { bytes, leftOut }] = bitmapIsBetter ? [bitmapFormat, asBitmap] : [runsFormat, asRuns]
  return { metadata: leftOut === ranges.length ? '' : seal(format, position, bytes), leftOut }
}

/** The ranges that the metadata holds for this position; none if another client or a later version wrote it. */
export function decodeFinished(position: number, metadata: string): FinishedRange[] {
  if (metadata.length > metadataLimit) return []
  for (const [format, decode] of [
    [runsFormat, decodeRuns],
    [bitmapFormat, decodeBitmap],
  ] as const) {
    const payload = metadata.startsWith(format) ? unseal(format, position, metadata) : undefined
    if (payload !== undefined) return decode(position, payload)
  }
  return []
}

/** Adds a checksum that includes the position: with another position, the ranges would name records that are not completed. */
function seal(format: string, position: number, payload: Buffer): string {
  const check = Buffer.alloc(checkLength)
  check.writeUInt32BE(checksum(position, payload))
  return format + Buffer.concat([check, payload]).toString('base64')
}

function unseal(format: string, position: number, metadata: string): Buffer | undefined {
  const sealed = Buffer.from(metadata.slice(format.length), 'base64')
  if (sealed.length <= checkLength) return undefined
  const payload = sealed.subarray(checkLength)
  return sealed.readUInt32BE(0) === checksum(position, payload) ? payload : undefined
}

/** FNV-1a. */
function checksum(position: number, payload: Buffer): number {
  let hash = 0x811c9dc5
  for (const byte of [...Buffer.from(String(position)), ...payload]) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}

/** Two varints per range: its distance from the end of the previous range (or the position), and its length minus one. */
function encodeRuns(
  position: number,
  ranges: readonly FinishedRange[],
  maxBytes: number,
): { bytes: Buffer; leftOut: number } {
  const bytes: number[] = []
  let from = position
  let written = 0
  for (const [first, last] of ranges) {
    const before = bytes.length
    pushVarint(bytes, first - from)
    pushVarint(bytes, last - first)
    if (bytes.length > maxBytes) {
      bytes.length = before
      break
    }
    from = last + 1
    written++
  }
  return { bytes: Buffer.from(bytes), leftOut: ranges.length - written }
}

function decodeRuns(position: number, bytes: Buffer): FinishedRange[] {
  const ranges: FinishedRange[] = []
  let at = 0
  let from = position
  const next = () => {
    let value = 0
    for (let factor = 1; at < bytes.length; factor *= 128) {
      const byte = bytes[at++]!
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
    return Number.NaN
  }
  while (at < bytes.length) {
    const first = from + next()
    const last = first + next()
    // Cut off or invalid: the ranges so far are complete, the rest cannot be trusted.
    if (!Number.isSafeInteger(last)) break
    ranges.push([first, last])
    from = last + 1
  }
  return ranges
}

/** One bit per offset from the position on. */
function encodeBitmap(
  position: number,
  ranges: readonly FinishedRange[],
  maxBytes: number,
): { bytes: Buffer; leftOut: number } {
  const fitting = ranges.filter(([, last]) => last - position < maxBytes * 8)
  const bytes = Buffer.alloc(fitting.length === 0 ? 0 : ((fitting.at(-1)![1] - position) >> 3) + 1)
  for (const [first, last] of fitting) {
    for (let bit = first - position; bit <= last - position; bit++) bytes[bit >> 3]! |= 1 << (bit & 7)
  }
  return { bytes, leftOut: ranges.length - fitting.length }
}

function decodeBitmap(position: number, bytes: Buffer): FinishedRange[] {
  const offsets: number[] = []
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    if ((bytes[bit >> 3]! & (1 << (bit & 7))) !== 0) offsets.push(position + bit)
  }
  return rangesOf(offsets)
}

/** The ranges of ascending offsets; consecutive offsets share a range. */
export function rangesOf(offsets: Iterable<number>): FinishedRange[] {
  const ranges: [number, number][] = []
  for (const offset of offsets) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === offset - 1) last[1] = offset
    else ranges.push([offset, offset])
  }
  return ranges
}

function pushVarint(bytes: number[], value: number): void {
  let rest = value
  while (rest >= 128) {
    bytes.push((rest % 128) | 0x80)
    rest = Math.floor(rest / 128)
  }
  bytes.push(rest)
}
