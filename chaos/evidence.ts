import { type At, isPartitionLine, isRecordLine, type Line, type PartitionLine, type RecordLine } from './journal'
import type { Ending } from './member-process'
import type { Incident } from './stage'
import type { Progress, Stored } from './wire'
import type { Work } from './workload'

/** A record of one of the topics, and the work that its value describes. */
export interface KnownRecord extends Stored {
  readonly work: Work
}

export interface MemberEnd extends Ending {
  readonly member: string
}

/** The evidence of a run. None of it comes from counters of the library. */
export interface Evidence {
  /** By record id: the place that Kafka acknowledged to the producer. */
  readonly acknowledged: ReadonlyMap<string, At>
  /** The records in the work topics, in the retry topic (`retried`) and in the DLQ topic (`dead`). */
  readonly records: readonly KnownRecord[]
  readonly retried: readonly KnownRecord[]
  readonly dead: readonly KnownRecord[]
  /** The journal lines of all members, by time. */
  readonly lines: readonly Line[]
  readonly incidents: readonly Incident[]
  /** The committed positions of the group at the end. */
  readonly progress: readonly Progress[]
  readonly ends: readonly MemberEnd[]
  /** Members that did not end in time when they were asked to. */
  readonly overdue: readonly string[]
}

export const known = (stored: readonly Stored[]): KnownRecord[] =>
  stored.map(record => ({ ...record, work: JSON.parse(record.value) }))

export const recordLines = ({ lines }: Evidence): RecordLine[] => lines.filter(isRecordLine)
export const partitionLines = ({ lines }: Evidence): PartitionLine[] => lines.filter(isPartitionLine)
