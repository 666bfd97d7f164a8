import { type Uuid, ZERO_UUID } from '../../../protocol/wire/uuid.js'

/**
 * What is written before the client's own text into a commit's metadata: to which log the position belongs, and how many
 * partitions the topic had when its group began.
 *
 * A position belongs to a log, not to a name: beside a topic of the same name with another id it means nothing. And a
 * partition that the topic did not have then is read from its beginning, whatever `startFrom` says of a group that begins.
 */
export interface LogIdentity {
  /** `ZERO_UUID`: not known. */
  readonly topicId: Uuid
  /** 0: not known. */
  readonly partitions: number
}

/** Characters it takes at most, of those that a broker allows beside a position. */
export const identityLength = 'rxmika/t,;'.length + ZERO_UUID.length + 6

const format = /^rxmika\/t([A-Za-z0-9_-]{22}),(\d{1,6});/

export function sealIdentity({ topicId, partitions }: LogIdentity, metadata: string): string {
  return `rxmika/t${topicId},${partitions};${metadata}`
}

/** Of what another client wrote nothing is known, and all of it is the metadata. */
export function unsealIdentity(sealed: string): { readonly identity: LogIdentity; readonly metadata: string } {
  const found = format.exec(sealed)
  if (found === null) return { identity: { topicId: ZERO_UUID, partitions: 0 }, metadata: sealed }
  return { identity: { topicId: found[1]!, partitions: Number(found[2]) }, metadata: sealed.slice(found[0].length) }
}
