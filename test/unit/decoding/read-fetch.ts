import { FetchError } from '../../../src/errors'
import { fetch } from '../../../src/protocol/messages/fetch'
import type { ExpansionBudget } from '../../../src/protocol/records/expansion-budget'
import { type DecodingOptions, readPartitionRecords } from '../../../src/protocol/records/partition-records'

export interface ReadFetchOptions extends DecodingOptions {
  /** From where a partition was asked for. */
  readonly fetchOffset?: (topic: string, partition: number) => number
  readonly budget?: ExpansionBudget | undefined
}

/** A fetch response, and of each partition its records, as a fetcher reads them. Throws `MalformedMessageError`. */
export function readFetch(payload: Buffer, version: number, options: ReadFetchOptions = {}) {
  const { fetchOffset = () => 0, budget, ...decoding } = options
  const { responses, ...response } = fetch.decodeResponse(payload, version)
  const partitions = responses.flatMap(({ topic, partitions }) =>
    partitions.map(({ records, partitionIndex: partition, ...told }) => {
      const bytes = records ?? Buffer.alloc(0)
      const from = fetchOffset(topic, partition)
      const aborted = told.abortedTransactions ?? []
      const read = readPartitionRecords(bytes, 0, bytes.length, from, aborted, decoding, budget)
      const { failure } = read
      const error =
        failure === undefined
          ? undefined
          : new FetchError(failure.error.message, {
              topic,
              partition,
              offset: BigInt(failure.offset),
              cause: failure.error,
            })
      return { topic, partition, ...told, ...read, error }
    }),
  )
  return { ...response, partitions }
}
