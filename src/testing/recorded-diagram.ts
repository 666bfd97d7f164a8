import { alphabet, nameOf } from './letters.js'
import { type Context, drawing } from './picture.js'
import type { RecordedEntry } from './record-marbles.js'

/** Of records, drawn with their letters; others have marks of their own. */
const ofRecords: readonly string[] = ['delivered', 'acked', 'failed', 'retried', 'dead-lettered', 'discarded']
const marks: Readonly<Record<string, string>> = { assigned: '<', revoked: '>', lost: '✗' }

/** Marble diagrams in the same columns, a ms each: deliveries, settlements, commits and copies by partition. */
export function recordedDiagram(entries: readonly RecordedEntry[]): string {
  const rows = new Map<
    string,
    { name: string; marks: { frame: number; mark: string }[]; legend: Map<string, string> }
  >()
  const known = new Map<string, string>()
  const start = entries[0]?.at ?? 0
  for (const { at, what, topic, partition, offset, shown } of entries) {
    if (topic === undefined || partition === undefined || offset === undefined) continue
    const isOfRecord = ofRecords.includes(what)
    if (!isOfRecord && what !== 'committed' && marks[what] === undefined) continue
    const place = nameOf({ topic, partition, offset: BigInt(offset) })
    if (isOfRecord && !known.has(place)) known.set(place, alphabet[known.size] ?? '?')
    const position = offset.length === 1 ? offset : '*'
    const mark = isOfRecord ? known.get(place)! : (marks[what] ?? position)
    const group = marks[what] === undefined ? `${what} of` : 'owns'
    const name = `${group} ${topic}-${partition}`
    const row = rows.get(name) ?? { name, marks: [], legend: new Map<string, string>() }
    rows.set(name, row)
    // A clock that is set back would draw before the beginning.
    row.marks.push({ frame: Math.max(0, at - start), mark })
    if (isOfRecord) row.legend.set(mark, shown === undefined ? place : `${place}, ${shown}`)
    else row.legend.set(mark, mark === '*' ? 'a position of more than one digit' : what)
  }
  return drawing([...rows.values()] satisfies Context[])
}
