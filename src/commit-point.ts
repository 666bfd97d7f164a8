/** A position to commit: everything of the partition below `offset` is completed. */
export interface CommitPoint {
  /** The topic, without the suffix. */
  readonly topic: string
  /** The partition of the topic. */
  readonly partition: number
  /** The next offset to read. */
  readonly offset: bigint
  /** The metadata that the broker stores with the position. */
  readonly metadata?: string
  /** The assignment that the point belongs to. Once it has ended, the point is dropped and never sent. */
  readonly assignment?: { readonly ended: boolean }
}

/** A position that the broker has confirmed. */
export interface Committed {
  /** The topic, without the suffix. */
  readonly topic: string
  /** The partition of the topic. */
  readonly partition: number
  /** The next offset to read. */
  readonly offset: bigint
  /** The metadata that was committed with it. */
  readonly metadata?: string
  /** The assignment that it was committed for. */
  readonly assignment?: { readonly ended: boolean }
}
