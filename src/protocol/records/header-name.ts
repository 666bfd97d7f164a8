const REMEMBERED = 32
const LONGEST = 64
const names: { readonly bytes: Uint8Array; readonly text: string }[] = []

/**
 * The name of a header at `from … end`, which is header number `index` of its record.
 *
 * Most records of a topic have the same header names. So each name is compared with that of the previous record: decoding
 * text costs ten times as much as comparing its bytes.
 */
export function readHeaderName(bytes: Buffer, from: number, end: number, index: number): string {
  const known = names[index]
  if (known !== undefined && isSame(known.bytes, bytes, from, end)) return known.text
  const text = bytes.toString('utf8', from, end)
  // Indexes in order, so that the array has no holes, and limits that bound its memory.
  if (index < REMEMBERED && index <= names.length && end - from <= LONGEST) {
    names[index] = { bytes: Uint8Array.from(bytes.subarray(from, end)), text }
  }
  return text
}

function isSame(known: Uint8Array, bytes: Buffer, from: number, end: number): boolean {
  if (known.length !== end - from) return false
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[from + i]) return false
  return true
}
