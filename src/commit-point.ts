/** A position to commit: everything of the partition below `offset` is completed. */
export interface CommitPoint {
  readonly topic: string
  readonly partition: number
  /** The next offset to read. */
  readonly offset: bigint
  /** Kept by the broker beside the position. */
  readonly metadata?: string
  /** The assignment the point belongs to. Once that has ended the point is dropped, never sent. */
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
