import { checkOptions, invalid, type KnownOptions, unknownOption } from '../options.js'
import type { PublishRecord } from '../publish.js'

const known: KnownOptions<PublishRecord> = {
  topic: true,
  key: true,
  value: true,
  headers: true,
  partition: true,
  timestamp: true,
}

const maxPartition = 2 ** 31 - 1

/**
 * The argument of `publish` as an array.
 *
 * @throws ConfigurationError naming the record by its index, if there are several, and the invalid field.
 */
export function publishable(records: PublishRecord | readonly PublishRecord[]): readonly PublishRecord[] {
  if (!Array.isArray(records)) {
    checkPublishable(records as PublishRecord)
    return [records as PublishRecord]
  }
  // Not `forEach`, which skips holes.
  for (let at = 0; at < records.length; at++) checkPublishable(records[at], at)
  return records
}

/** Called for millions of records, so strings for a message are built only if there is a message. */
function checkPublishable(record: PublishRecord, index?: number): void {
  if (typeof record !== 'object' || record === null) {
    throw invalid(`${where(index)}: the record`, record, 'must be an object { topic, key, value, headers }')
  }
  if (unknownOption(record, known) !== undefined) checkOptions(where(index), record, known)
  const { topic, key, value, partition, timestamp, headers } = record
  if (typeof topic !== 'string' || topic === '') {
    throw invalid(`${where(index)}: topic`, topic, 'must be a non-empty string')
  }
  if (!isContent(value)) throw invalidContent(`${where(index, topic)}: value`, value)
  if (key !== undefined && !isContent(key)) throw invalidContent(`${where(index, topic)}: key`, key)
  if (partition !== undefined && !(Number.isInteger(partition) && partition >= 0 && partition <= maxPartition)) {
    throw invalid(`${where(index, topic)}: partition`, partition, 'must be an integer ≥ 0')
  }
  if (timestamp !== undefined && !(Number.isSafeInteger(timestamp) && timestamp >= 0)) {
    throw invalid(`${where(index, topic)}: timestamp`, timestamp, 'must be an integer ≥ 0, ms since 1970')
  }
  if (headers !== undefined) checkHeaders(record, index)
}

function where(index: number | undefined, topic?: string): string {
  const record = index === undefined ? 'publish' : `publish: record ${index}`
  return topic === undefined ? record : `${record} to ${topic}`
}

function checkHeaders(
  { topic, headers }: { readonly topic: string; readonly headers?: unknown },
  index?: number,
): void {
  const rule = 'must be an object of headers, or an array of [name, value] pairs'
  const refused = (wrong: unknown) => invalid(`${where(index, topic)}: headers`, wrong, rule)
  const check = (name: unknown, value: unknown) => {
    if (typeof name !== 'string') throw invalid(`${where(index, topic)}: header name`, name, 'must be a string')
    if (!isContent(value)) throw invalidContent(`${where(index, topic)}: header '${name}'`, value)
  }
  if (Array.isArray(headers)) {
    for (const pair of headers) {
      if (!Array.isArray(pair) || pair.length !== 2) throw refused(pair)
      check(pair[0], pair[1])
    }
    return
  }
  // A Map has no enumerable properties: its headers would be lost silently.
  if (typeof headers !== 'object' || headers === null || headers instanceof Map || Buffer.isBuffer(headers)) {
    throw refused(headers)
  }
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue
    if (Array.isArray(value)) for (const one of value) check(name, one)
    else check(name, value)
  }
}

function isContent(content: unknown): boolean {
  return content === null || typeof content === 'string' || Buffer.isBuffer(content)
}

function invalidContent(what: string, content: unknown) {
  return invalid(what, content, 'must be a Buffer, a string or null')
}
