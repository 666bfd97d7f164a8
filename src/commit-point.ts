/** A position to commit: everything of the partition below `offset` is completed. */
export interface CommitPoint {
  readonly topic: string
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
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  readonly metadata?: string
  readonly assignment?: { readonly ended: boolean }
}
