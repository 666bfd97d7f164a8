import { openSync, readFileSync, writeSync } from 'node:fs'
import { now } from './clock'

interface Written {
  readonly member: string
  readonly time: number
}

/** A place in Kafka: a record's, or a partition's position. */
export interface At {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/**
 * A step of a record's handling: its handler began, or it was settled and that counted. The place is where it was read.
 */
export interface RecordLine extends Written, At {
  readonly what: 'begun' | 'acked' | 'failed'
  readonly id: string
  readonly attempt: number
}

/**
 * What the client told about a partition, or about the record at a place: `retried` and `dead-lettered` once its copy is
 * confirmed. `giving-up`: a rebalance may take the partition, and what is in flight of it may settle; `kept`: it did not. These two
 * have no offset (-1).
 */
export interface PartitionLine extends Written, At {
  readonly what:
    | 'assigned'
    | 'giving-up'
    | 'kept'
    | 'revoked'
    | 'lost'
    | 'committed'
    | 'forgotten'
    | 'late-settlement'
    | 'leaked'
    | 'stalled'
    | 'retried'
    | 'dead-lettered'
}

export interface MemberLine extends Written {
  readonly what: 'running' | 'closing' | 'closed' | 'error' | 'disconnected' | 'reconnected' | 'restarted'
  readonly detail?: string
}

export type Line = RecordLine | PartitionLine | MemberLine
type Unwritten<L> = L extends Line ? Omit<L, keyof Written> : never

/** A member's own log. Every line is with the system before the call returns, whatever kills the process after. */
export function openJournal(path: string, member: string): (line: Unwritten<Line>) => void {
  const file = openSync(path, 'a')
  return line => writeSync(file, `${JSON.stringify({ member, time: now(), ...line })}\n`)
}

export function readJournal(path: string): Line[] {
  const lines = readFileSync(path, 'utf8').split('\n')
  // What is after the last line break was cut off by a kill.
  return lines.slice(0, -1).map(line => JSON.parse(line))
}

export const isRecordLine = (line: Line): line is RecordLine => 'id' in line
export const isPartitionLine = (line: Line): line is PartitionLine => 'topic' in line && !('id' in line)
export const isMemberLine = (line: Line): line is MemberLine => !('topic' in line)

/** A partition's name, as a key. */
export const partitionOf = ({ topic, partition }: Omit<At, 'offset'>): string => `${topic}/${partition}`
/** A place's name, as a key. */
export const placeOf = (at: At): string => `${partitionOf(at)}@${at.offset}`
