/**
 * Completed work behind a committed position, as it is kept in the commit's metadata: so that a record that never
 * settles, or a retry that is not due, costs its own redelivery after a restart and not that of everything behind it.
 *
 * What is written are ranges of offsets, first to last, in which every record that was delivered is completed. Offsets
 * in a range that were not delivered were not visible (markers, aborted, compacted), and never will be.
 */
export type FinishedRange = readonly [first: number, last: number]

/** Kafka's default for `offset.metadata.max.bytes` is 4,096; the text is ASCII. */
export const metadataLimit = 4_096

const runs = 'rxmika/1r:'
const bitmap = 'rxmika/1b:'
const checkLength = 4

/** Bytes of ranges that a text of at most `limit` characters has room for. */
function payloadLimit(limit: number): number {
  return Math.max(0, Math.floor((limit - runs.length) / 4) * 3 - checkLength)
}

/** The metadata, and how many of the ranges found no place in it: the last ones. */
export interface Remembered {
  readonly metadata: string
  readonly leftOut: number
}

/**
 * @param ranges Ascending, apart from each other, and none below `position`.
 * @param limit Characters that the metadata may have.
 */
export function encodeFinished(position: number, ranges: readonly FinishedRange[], limit = metadataLimit): Remembered {
  if (ranges.length === 0) return { metadata: '', leftOut: 0 }
  const most = payloadLimit(limit)
  const asRuns = encodeRuns(position, ranges, most)
  const asBitmap = encodeBitmap(position, ranges, most)
  const bitmapIsBetter =
    asBitmap.leftOut < asRuns.leftOut ||
    (asBitmap.leftOut === asRuns.leftOut && asBitmap.bytes.length < asRuns.bytes.length)
  const [format, { bytes, leftOut }] = bitmapIsBetter ? [bitmap, asBitmap] : [runs, asRuns]
  return { metadata: leftOut === ranges.length ? '' : seal(format, position, bytes), leftOut }
}

/** The ranges that metadata holds for this position; none for what another client, or a later version, wrote. */
export function decodeFinished(position: number, metadata: string): FinishedRange[] {
  if (metadata.length > metadataLimit) return []
  for (const [format, decode] of [
    [runs, decodeRuns],
    [bitmap, decodeBitmap],
  ] as const) {
    const payload = metadata.startsWith(format) ? unseal(format, position, metadata) : undefined
    if (payload !== undefined) return decode(position, payload)
  }
  return []
}

/** With a check over the position too: beside any other position the ranges would name records nobody completed. */
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

/** Per range two varints: the distance from the end of the last one (or the position), and the range's length less one. */
function encodeRuns(
  position: number,
  ranges: readonly FinishedRange[],
  most: number,
): { bytes: Buffer; leftOut: number } {
  const bytes: number[] = []
  let from = position
  let written = 0
  for (const [first, last] of ranges) {
    const before = bytes.length
    pushVarint(bytes, first - from)
    pushVarint(bytes, last - first)
    if (bytes.length > most) {
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
    // Cut off or no numbers: what was read so far is whole, the rest is not to be trusted.
    if (!Number.isSafeInteger(last)) break
    ranges.push([first, last])
    from = last + 1
  }
  return ranges
}

/** A bit per offset from the position on. */
function encodeBitmap(
  position: number,
  ranges: readonly FinishedRange[],
  most: number,
): { bytes: Buffer; leftOut: number } {
  const fitting = ranges.filter(([, last]) => last - position < most * 8)
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

/** Ranges of ascending offsets: those that follow each other are one. */
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
