/**
 * The one notation of a partition in messages: `orders-3`, as Kafka writes it. It is unique, because the number comes last.
 */
export function partitionName({ topic, partition }: { readonly topic: string; readonly partition: number }): string {
  return `${topic}-${partition}`
}

/** The one notation of a record's place, or of a position, in messages: `orders-3@1042`. */
export function placeName(place: {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint | number | string
}): string {
  return `${partitionName(place)}@${place.offset}`
}

/** The place where a record was read, and the one where it was first published if that is another one. */
export function placeNameOf(record: {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  readonly origin?: { readonly topic: string; readonly partition: number; readonly offset: bigint } | undefined
}): string {
  return record.origin === undefined
    ? placeName(record)
    : `${placeName(record)} (a copy of ${placeName(record.origin)})`
}

const maxNamed = 10

/** Names the first ten of a list and counts the others: `orders-0, orders-1, and 3 more`. */
export function firstTen<T>(list: readonly T[], nameOf: (item: T) => string): string {
  const names = list.slice(0, maxNamed).map(nameOf).join(', ')
  const others = list.length - maxNamed
  return others > 0 ? `${names}, and ${others} more` : names
}
