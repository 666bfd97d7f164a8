import { FetchError } from '../../../errors.js'
import { partitionName } from '../../../place.js'
import { kafkaError } from '../../../protocol/errors.js'
import { fetch, isolationLevel } from '../../../protocol/messages/fetch.js'
import type { Codecs } from '../../../protocol/records/codecs.js'
import { readPartitionRecords } from '../../../protocol/records/partition-records.js'
import type { RecordBatch } from '../../../record-batch.js'
import type { Cluster } from '../cluster/cluster.js'
import { earliest, offsetsAt } from '../positions/list-offsets.js'
import type { TopicPartition } from '../topic-partition.js'

const maxBytes = 256 * 1024
/** Short, because the log is known to reach beyond the offset. */
const maxWait = 100
const namedVersion = 12

/**
 * One fetch over a connection that no consumption uses, so it does not wait behind a long poll. It moves no position.
 *
 * @returns Batches, beginning with the one that has the first record at or after `offset`.
 */
export async function readAt(
  cluster: Cluster,
  { topic, partition }: TopicPartition,
  offset: number,
  codecs: Codecs | undefined,
): Promise<readonly RecordBatch[]> {
  const place = `${partitionName({ topic, partition })}@${offset}`
  const fail = (why: string, cause?: unknown) =>
    new FetchError(`${place} cannot be read: ${why}`, { cause, topic, partition, offset: BigInt(offset) })
  const leader = cluster.leaderOf(topic, partition)
  if (leader === undefined) throw fail('no broker leads its partition at present')
  const fetchAt = async (at: number) => {
    const request = {
      maxWaitMs: maxWait,
      minBytes: 1,
      maxBytes,
      isolationLevel: isolationLevel.readCommitted,
      topics: [{ topic, partitions: [{ partition, fetchOffset: at, partitionMaxBytes: maxBytes }] }],
    }
    const { responses } = await cluster.ask(leader, 'control', fetch, request, { maxVersion: namedVersion })
    const found = responses[0]?.partitions[0]
    if (found === undefined) throw new Error('the broker did not answer for it')
    return found
  }
  try {
    let from = offset
    let found = await fetchAt(from)
    if (kafkaError(found.errorCode).name === 'OFFSET_OUT_OF_RANGE') {
      // Retention may have deleted the record, and those after it up to the beginning.
      const beginnings = await offsetsAt(cluster, [{ topic, partition }], earliest)
      from = Math.max(offset, beginnings.get({ topic, partition })!.offset)
      found = await fetchAt(from)
    }
    if (found.errorCode !== 0) throw new Error(`the broker answers ${kafkaError(found.errorCode)}`)
    const bytes = found.records ?? Buffer.alloc(0)
    // The record need not be deleted: a broker may leave out records that are in tiered storage.
    const isAtEnd = from > offset && found.highWatermark <= from
    if (bytes.length === 0 && !isAtEnd) throw new Error('the broker sent no records')
    const { batches, failure } = readPartitionRecords(
      bytes,
      0,
      bytes.length,
      from,
      found.abortedTransactions ?? [],
      codecs === undefined ? {} : { codecs },
    )
    if (failure !== undefined && batches.length === 0) throw failure.error
    return batches
  } catch (error) {
    // The leader may have changed.
    cluster.refresh().catch(() => {})
    throw fail((error as Error).message, error)
  }
}
