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

/** A handler began, or settled its record. Settlements that changed nothing have no line. The place is where the record was read. */
export interface RecordLine extends Written, At {
  readonly what: 'begun' | 'acked' | 'failed'
  readonly id: string
  readonly attempt: number
}

/**
 * An event of the client about a partition or a record. `retried` and `dead-lettered` mean that the copy is confirmed.
 *
 * Two kinds of lines are not events, and have the offset -1. `giving-up`: a rebalance has begun that may revoke the partition;
 * it waits for the records in flight. `kept`: that rebalance has ended and did not revoke the partition.
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

/** Opens a member's journal. Each line is passed to the operating system before the call returns, so that a kill loses none. */
export function openJournal(path: string, member: string): (line: Unwritten<Line>) => void {
  const file = openSync(path, 'a')
  return line => writeSync(file, `${JSON.stringify({ member, time: now(), ...line })}\n`)
}

export function readJournal(path: string): Line[] {
  const lines = readFileSync(path, 'utf8').split('\n')
  // The text after the last line break is empty, or a line that a kill cut off.
  return lines.slice(0, -1).map(line => JSON.parse(line))
}

export const isRecordLine = (line: Line): line is RecordLine => 'id' in line
export const isPartitionLine = (line: Line): line is PartitionLine => 'topic' in line && !('id' in line)
export const isMemberLine = (line: Line): line is MemberLine => !('topic' in line)

/** `orders-3`, also used as a key. */
export const partitionOf = ({ topic, partition }: Omit<At, 'offset'>): string => `${topic}-${partition}`
/** `orders-3@1042`, also used as a key. */
export const placeOf = (at: At): string => `${partitionOf(at)}@${at.offset}`
