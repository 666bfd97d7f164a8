import type { FetchError } from '../../errors.js'
import { placeName } from '../../place.js'
import type { RecordBatch } from '../../record-batch.js'
import type { KafkajsOptions } from './connection.js'
import { within } from './deadline.js'
import { decodedByKafkajs, decodedLazily } from './decode.js'
import { decodeLazily } from './decoding/lazy-fetch.js'
import type { Cluster } from './kafkajs-internals.js'
import type { TopicPartition } from './sticky-assignment.js'

const requestTimeout = 10_000
const maxBytes = 256 * 1024
/** The log is known to reach beyond the offset: nothing has to be waited for. */
const maxWaitTime = 100
const readCommitted = 1

/**
 * One fetch over a connection that no consumer uses: it neither waits behind a long poll nor moves anybody's position.
 *
 * @returns The batches from the one on that holds the first record at or after `offset`.
 */
export async function readAt(
  cluster: Cluster,
  leader: number,
  { topic, partition }: TopicPartition,
  offset: number,
  { codecs, decoder }: Pick<KafkajsOptions, 'codecs' | 'decoder'>,
): Promise<readonly RecordBatch[]> {
  const broker = await within(requestTimeout, cluster.findBroker({ nodeId: leader }), `the leader of ${topic}`)
  let unreadable: FetchError | undefined
  const lazy = decoder !== 'kafkajs'
  if (lazy) {
    decodeLazily(broker, {
      codecs,
      onUnreadable: error => {
        unreadable = error
      },
    })
  }
  const { responses } = await within(
    requestTimeout,
    broker.fetch({
      maxWaitTime,
      isolationLevel: readCommitted,
      topics: [{ topic, partitions: [{ partition, maxBytes, fetchOffset: String(offset) }] }],
    }),
    `the record at ${placeName({ topic, partition, offset })}`,
  )
  if (unreadable !== undefined) throw unreadable
  const decode = lazy ? decodedLazily : decodedByKafkajs
  return responses
    .flatMap(({ partitions }) => partitions)
    .flatMap(fetched => decode(topic, offset, fetched))
    .map(({ batch }) => batch)
}
