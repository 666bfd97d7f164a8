import { type Uuid, ZERO_UUID } from '../../../protocol/wire/uuid.js'

/**
 * Written before the client's own text into a commit's metadata: the log of the position, and the number of partitions that
 * the topic had when its group began.
 *
 * A position belongs to a log and not to a name: for a topic of the same name with another id it has no meaning. A partition
 * that the topic did not have then is read from its beginning, whatever `startFrom` says for a new group.
 */
export interface LogIdentity {
  /** `ZERO_UUID`: unknown. */
  readonly topicId: Uuid
  /** 0: unknown. */
  readonly partitions: number
}

/** Its longest text, in characters. It counts for the limit of the metadata. */
export const identityLength = 'rxmika/t,;'.length + ZERO_UUID.length + 6

const format = /^rxmika\/t([A-Za-z0-9_-]{22}),(\d{1,6});/

export function sealIdentity({ topicId, partitions }: LogIdentity, metadata: string): string {
  return `rxmika/t${topicId},${partitions};${metadata}`
}

/** Metadata of another client has no identity, and is returned unchanged. */
export function unsealIdentity(sealed: string): { readonly identity: LogIdentity; readonly metadata: string } {
  const found = format.exec(sealed)
  if (found === null) return { identity: { topicId: ZERO_UUID, partitions: 0 }, metadata: sealed }
  return { identity: { topicId: found[1]!, partitions: Number(found[2]) }, metadata: sealed.slice(found[0].length) }
}
