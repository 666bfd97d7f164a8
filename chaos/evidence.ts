import { type At, isPartitionLine, isRecordLine, type Line, type PartitionLine, type RecordLine } from './journal'
import type { Ending } from './member-process'
import type { Incident } from './stage'
import type { Progress, Stored } from './wire'
import type { Work } from './workload'

/** A record of a topic that is worked on, and what it asks for. */
export interface KnownRecord extends Stored {
  readonly work: Work
}

export interface MemberEnd extends Ending {
  readonly member: string
}

/** All that a run left behind. Nothing of it was counted by the library. */
export interface Evidence {
  /** Where Kafka told the producer it had written a record. */
  readonly acknowledged: ReadonlyMap<string, At>
  /** What stands on the topics, on the retry topic and on the DLQ topic. */
  readonly records: readonly KnownRecord[]
  readonly retried: readonly KnownRecord[]
  readonly dead: readonly KnownRecord[]
  /** What members wrote, in the order of time. */
  readonly lines: readonly Line[]
  readonly incidents: readonly Incident[]
  /** Where the group stands at the end. */
  readonly progress: readonly Progress[]
  readonly ends: readonly MemberEnd[]
  /** Members that did not end in time when they were asked to. */
  readonly overdue: readonly string[]
}

export const known = (stored: readonly Stored[]): KnownRecord[] =>
  stored.map(record => ({ ...record, work: JSON.parse(record.value) }))

export const recordLines = ({ lines }: Evidence): RecordLine[] => lines.filter(isRecordLine)
export const partitionLines = ({ lines }: Evidence): PartitionLine[] => lines.filter(isPartitionLine)
