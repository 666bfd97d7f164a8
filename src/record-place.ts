import type { RecordPlace } from './events.js'
import type { ConsumeRecord } from './record.js'

/** A record as events name it: where it was read, its key, and where it was first published if that is elsewhere. */
export function recordPlace(record: ConsumeRecord<unknown>, key: Buffer | null = record.key): RecordPlace {
  const { kind, topic, partition, offset } = record.source
  if (kind === 'topic') return { topic, partition, offset, key }
  return {
    topic,
    partition,
    offset,
    key,
    origin: { topic: record.topic, partition: record.partition, offset: record.offset },
  }
}
