/** Reads the length and the first byte of a value: the least that a handler does. */
export function touch(value: Buffer | null | undefined): number {
  return value && value.length > 0 ? value.length + value[0]! : 0
}
