/** Something that must not be. */
export interface Violation {
  readonly rule: string
  readonly text: string
  /** Whose history shows how it came about. */
  readonly id?: string
}
