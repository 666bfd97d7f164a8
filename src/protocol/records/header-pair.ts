/** One header of a record. Names may repeat, and a value may be null. */
export type HeaderPair = readonly [name: string, value: Buffer | null]
