/** Reads the length and the first byte of a value, as any handler would at least. */
export function touch(value: Buffer | null | undefined): number {
  return value && value.length > 0 ? value.length + value[0]! : 0
}
