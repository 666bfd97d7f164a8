/** One header as it stands in the record: names may repeat, and a value may be null. */
export type HeaderPair = readonly [name: string, value: Buffer | null]
