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
