/** Reads of a value what any handler does: that it is there, and how it begins. */
export function touch(value: Buffer | null | undefined): number {
  return value && value.length > 0 ? value.length + value[0]! : 0
}
