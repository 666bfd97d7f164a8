/** A broken rule. */
export interface Violation {
  readonly rule: string
  readonly text: string
  /** The record whose history explains the violation. */
  readonly id?: string
}
