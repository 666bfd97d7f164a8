import { type Uuid, ZERO_UUID } from '../../../protocol/wire/uuid.js'

/**
 * Written before the client's own text into a commit's metadata: the log of the position, and the number of partitions that
 * the topic had when its group began.
 *
 * A position belongs to a log and not to a name: for a topic of the same name with another id it has no meaning. A partition
 * that the topic did not have then is read from its beginning, whatever `startFrom` says for a new group. And what is said of
 * records behind the position holds only while the log has not been truncated below them.
 */
export interface LogIdentity {
  /** `ZERO_UUID`: unknown. */
  readonly topicId: Uuid
  /** 0: unknown. */
  readonly partitions: number
  /** How far the log was read when the text was written; absent if the text says nothing of records behind the position. */
  readonly read?: ReadTo
}

/** The offset after the last record that was read, and the leader epoch of that record. */
export interface ReadTo {
  readonly offset: number
  readonly epoch: number
}

/** Its longest text, in characters. It counts for the limit of the metadata. */
export const identityLength = 'rxmika/t,,@;'.length + ZERO_UUID.length + 6 + 10 + 16

const format = /^rxmika\/t([A-Za-z0-9_-]{22}),(\d{1,6})(?:,(\d{1,10})@(\d{1,16}))?;/

export function sealIdentity({ topicId, partitions, read }: LogIdentity, metadata: string): string {
  const readTo = read === undefined ? '' : `,${read.epoch}@${read.offset}`
  return `rxmika/t${topicId},${partitions}${readTo};${metadata}`
}

/** Metadata of another client has no identity, and is returned unchanged. */
export function unsealIdentity(sealed: string): { readonly identity: LogIdentity; readonly metadata: string } {
  const found = format.exec(sealed)
  if (found === null) return { identity: { topicId: ZERO_UUID, partitions: 0 }, metadata: sealed }
  const [head, topicId, partitions, epoch, offset] = found
  const read = epoch === undefined ? undefined : { epoch: Number(epoch), offset: Number(offset) }
  const identity = { topicId: topicId!, partitions: Number(partitions), ...(read !== undefined && { read }) }
  return { identity, metadata: sealed.slice(head.length) }
}
