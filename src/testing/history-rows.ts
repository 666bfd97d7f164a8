import type { Client } from '../client/client.js'
import { type Letters, shown, unknown } from './letters.js'
import type { Members } from './members.js'
import type { Context } from './picture.js'
import type { HistoryEntry } from './scenario.js'

interface Row {
  readonly name: string
  readonly marks: { readonly frame: number; readonly mark: string }[]
  readonly legend: Map<string, string>
}

/** A history as rows of a picture: deliveries and settlements by client, commits by partition, copies by topic. */
export function rowsOf(
  entries: readonly HistoryEntry[],
  letters: Letters,
  members: Members,
  clients: readonly Client[],
): Context[] {
  const rows = new Map<string, Row>()
  const put = (name: string, frame: number, mark: string, meaning?: string) => {
    const row: Row = rows.get(name) ?? { name, marks: [], legend: new Map() }
    rows.set(name, row)
    row.marks.push({ frame, mark })
    if (meaning !== undefined) row.legend.set(mark, meaning)
  }
  const positions = new Map<string, bigint>()
  const of = (client: number) => (clients.length === 1 ? '' : `client ${client + 1} `)
  for (const entry of entries) {
    const { frame } = entry
    switch (entry.what) {
      case 'delivered':
      case 'acked':
      case 'failed': {
        const { record, client } = entry
        const topic = members.fullName(clients[client]!, record.topic)
        const { mark, meaning } = letters.of(
          { topic, partition: record.partition, offset: record.offset },
          record.value,
        )
        put(`${of(client)}${entry.what}`, frame, mark, meaning)
        break
      }
      case 'committed': {
        const { group, topic, partition, offset } = entry.commit
        const key = `${group} ${topic}-${partition}`
        if ((positions.get(key) ?? 0n) === offset) break
        positions.set(key, offset)
        const mark = offset < 10n ? String(offset) : unknown
        put(`commits of ${topic}-${partition}`, frame, mark, offset < 10n ? undefined : `position ${offset}`)
        break
      }
      case 'event': {
        const { event, client } = entry
        if (event.type !== 'revoked' && event.type !== 'lost' && event.type !== 'assigned') break
        const partition = `${event.topic}-${event.partition}`
        put(`${of(client)}owns ${partition}`, frame, { assigned: '<', revoked: '>', lost: '✗' }[event.type], event.type)
        break
      }
      case 'error':
        put(`${of(entry.client)}errors`, frame, 'x', shown(String(entry.error)))
        break
      case 'written': {
        const [copy] = entry.record.headerPairs.filter(([name]) => name.startsWith('mika_err_'))
        if (copy === undefined) break
        const { mark, meaning } = letters.ofStored(entry.record)
        put(`written to ${entry.record.topic}`, frame, mark, meaning)
        break
      }
      case 'killed':
      case 'expelled':
      case 'clock set':
        break
    }
  }
  return [...rows.values()]
}
