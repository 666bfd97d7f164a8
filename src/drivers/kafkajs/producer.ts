import { type Kafka, Partitioners } from 'kafkajs'
import { Observable } from 'rxjs'
import { isRxMikaError, PublishError } from '../../errors.js'
import { partitionOfKey } from '../../partitioner.js'
import { partitionName } from '../../place.js'
import { type ProduceResult, refused, written } from '../../produce-result.js'
import { type EncodableRecord, encodeRecordBatch } from '../../protocol/records/record-batch-encoder.js'
import { headerPairs, type ProduceRecord } from '../../publish.js'
import { BrokerOutbox } from './broker-outbox.js'
import { within } from './deadline.js'
import { type GuardedCluster, openCluster } from './guarded-cluster.js'
import { isPermanentCode, isRetriableCode, isSequenceCode, mayBeOneRecord, nameOfCode } from './produce-errors.js'
import type { ProduceAnswer } from './produce-request.js'
import { ProducerIdentity } from './producer-identity.js'
import { errorType, isConnectionFailure, isNotAuthorized, isRefusal, messageOf } from './protocol-error.js'
import type { Reachability } from './reachability.js'
import { TopicDirectory } from './topic-directory.js'

/** After this a record's outcome is told as unknown, ms. The client tries again, or gives up, as it likes. */
const deliveryTimeout = 20_000
const firstRetry = 50
const longestRetry = 1_000

/** What is sent together to one partition: places in the caller's list, and the records as they go to the wire. */
interface Share {
  readonly topic: string
  readonly partition: number
  readonly indexes: number[]
  readonly records: EncodableRecord[]
  readonly compression: 'gzip' | undefined
}

/**
 * Writes records, idempotently: one batch under way for each partition, repeated under the same sequence number until
 * it is answered. What the broker said of each partition is known, whatever became of the others.
 */
export class Producer {
  readonly #guarded: GuardedCluster
  readonly #directory: TopicDirectory
  readonly #outbox: BrokerOutbox
  readonly #partitioner = Partitioners.DefaultPartitioner()
  /** By partition name the end of what is queued for it. */
  readonly #tails = new Map<string, Promise<unknown>>()
  #connected: Promise<void> | undefined
  #identity: Promise<ProducerIdentity> | undefined
  #ended = false

  /** @param reachability `lastFailure` is why a broker cannot be reached at present. */
  constructor(kafka: Kafka, reachability: Reachability) {
    this.#guarded = openCluster(kafka, reachability)
    this.#directory = new TopicDirectory(this.#guarded.cluster)
    this.#outbox = new BrokerOutbox(this.#guarded.cluster)
  }

  produce(records: readonly ProduceRecord[]): Observable<readonly ProduceResult[]> {
    return new Observable(subscriber => {
      this.#produce(records, () => subscriber.closed).then(
        results => {
          subscriber.next(results)
          subscriber.complete()
        },
        error => {
          subscriber.next(records.map(({ topic }) => refused(publishError(topic, messageOf(error), true, error))))
          subscriber.complete()
        },
      )
    })
  }

  async end(): Promise<void> {
    this.#ended = true
    await this.#guarded.end()
  }

  async #produce(records: readonly ProduceRecord[], cancelled: () => boolean): Promise<readonly ProduceResult[]> {
    const results: ProduceResult[] = new Array(records.length)
    const until = Date.now() + deliveryTimeout
    const shares = await this.#share(records, results, until)
    await Promise.all(shares.map(share => this.#inTurn(share, results, until, cancelled)))
    return results
  }

  // ── Which partition ──────────────────────────────────────────────────────────────────────────────────────────────

  async #share(records: readonly ProduceRecord[], results: ProduceResult[], until: number): Promise<readonly Share[]> {
    const failed = await this.#learn(new Set(records.map(record => record.topic)), until)
    const shares = new Map<string, Share>()
    records.forEach((record, index) => {
      try {
        const { topic } = record
        const failure = failed.get(topic)
        if (failure !== undefined) throw failure
        const encodable = encodableRecord(record)
        const partition = this.#partitionOf(record, encodable)
        const { compression } = record
        // What is compressed has a batch of its own: it is what is too large otherwise.
        const name = compression === undefined ? partitionName({ topic, partition }) : `${index}`
        let share = shares.get(name)
        if (share === undefined) {
          share = { topic, partition, indexes: [], records: [], compression }
          shares.set(name, share)
        }
        share.indexes.push(index)
        share.records.push(encodable)
      } catch (error) {
        results[index] = refused(
          isRxMikaError(error, 'RXMIKA_PUBLISH') ? error : publishError(record.topic, messageOf(error), false, error),
        )
      }
    })
    return [...shares.values()]
  }

  /** Learns of the topics' partitions; by topic the error, where that failed. */
  async #learn(topics: ReadonlySet<string>, until: number): Promise<ReadonlyMap<string, PublishError>> {
    const failed = new Map<string, PublishError>()
    await Promise.all(
      [...topics].map(async topic => {
        const failure = await this.#learnOf(topic, until)
        if (failure !== undefined) failed.set(topic, failure)
      }),
    )
    return failed
  }

  /** Again where a connection breaks: it is made anew at once. */
  async #learnOf(topic: string, until: number): Promise<PublishError | undefined> {
    for (let failures = 0; ; failures++) {
      try {
        await within(Math.max(1, until - Date.now()), this.#connect(), 'connecting')
        await within(Math.max(1, until - Date.now()), this.#directory.learn(topic), `the metadata of ${topic}`)
        return undefined
      } catch (error) {
        const permanent = isNotAuthorized(error) || isRefusal(error) || errorType(error) === 'INVALID_TOPIC_EXCEPTION'
        const over = this.#ended || Date.now() >= until
        if (permanent || over || !isConnectionFailure(error)) {
          return publishError(topic, messageOf(error), !permanent, error)
        }
        await sleep(Math.min(firstRetry * 2 ** failures, longestRetry, Math.max(1, until - Date.now())))
      }
    }
  }

  #connect(): Promise<void> {
    this.#connected ??= this.#open().catch(error => {
      this.#connected = undefined
      throw error
    })
    return this.#connected
  }

  async #open(): Promise<void> {
    await this.#guarded.cluster.connect()
    await this.#guarded.cluster.refreshMetadata()
  }

  #partitionOf(record: ProduceRecord, { key, value }: EncodableRecord): number {
    const { topic, partition } = record
    const partitions = this.#directory.partitions(topic)
    if (partition === undefined || partition === null) {
      if (key !== null) return partitionOfKey(key, partitions.length)
      return this.#partitioner({ topic, partitionMetadata: partitions, message: { key, value } } as never)
    }
    if (partitions.some(({ partitionId }) => partitionId === partition)) return partition
    throw publishError(topic, `there is no partition ${partition}, ${partitions.length} there are`, false)
  }

  // ── Delivery ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** One batch of a partition at a time: the broker takes them by their sequence only. */
  async #inTurn(share: Share, results: ProduceResult[], until: number, cancelled: () => boolean): Promise<void> {
    const name = partitionName(share)
    const before = this.#tails.get(name)
    const turn = (before ?? Promise.resolve()).then(() => this.#deliver(share, results, until, cancelled))
    this.#tails.set(name, turn)
    await turn
    if (this.#tails.get(name) === turn) this.#tails.delete(name)
  }

  async #deliver(share: Share, results: ProduceResult[], until: number, cancelled: () => boolean): Promise<void> {
    const { topic, partition, records } = share
    const attempt = new Attempt(share)
    let last: unknown
    for (let failures = 0; Date.now() < until && !this.#ended && !cancelled(); failures++) {
      if (failures > 0) await sleep(Math.min(firstRetry * 2 ** failures, longestRetry, Math.max(1, until - Date.now())))
      try {
        const identity = await within(Math.max(1, until - Date.now()), this.#identify(), 'a producer id')
        const bytes = attempt.encoded(identity)
        const leader = await within(
          Math.max(1, until - Date.now()),
          this.#directory.leader(topic, partition),
          'the leader',
        )
        attempt.sent = true
        const answer = await within(
          Math.max(1, until - Date.now()),
          this.#outbox.send(leader, { topic, partition, bytes }),
          'the acknowledgement',
        )
        attempt.sent = false
        if (answer.errorCode === 0) return attempt.written(answer, results)
        last = new Error(nameOfCode(answer.errorCode))
        if (mayBeOneRecord(answer.errorCode) && records.length > 1) {
          return await this.#halves(share, results, until, cancelled)
        }
        if (isPermanentCode(answer.errorCode))
          return attempt.refused(nameOfCode(answer.errorCode), false, last, results, nameOfCode(answer.errorCode))
        if (isSequenceCode(answer.errorCode)) this.#retire(identity)
        else if (isRetriableCode(answer.errorCode)) this.#directory.forget(topic)
      } catch (error) {
        last = error
        if (isRefusal(error) || isNotAuthorized(error)) return attempt.refused(messageOf(error), false, error, results)
        this.#directory.forget(topic)
      }
    }
    // The broker may have it, or may yet get it: another batch under this sequence would be taken for the same.
    if (attempt.sent && attempt.identity !== undefined) this.#retire(attempt.identity)
    const why = cancelled() ? 'nobody waits for it any more' : messageOf(last ?? 'no acknowledgement in time')
    attempt.refused(why, true, last, results)
  }

  /** A batch is refused for one of its records: only that one shall fail. */
  async #halves(share: Share, results: ProduceResult[], until: number, cancelled: () => boolean): Promise<void> {
    const { topic, partition, indexes, records, compression } = share
    const middle = Math.ceil(records.length / 2)
    for (const [from, to] of [
      [0, middle],
      [middle, records.length],
    ] as const) {
      const half = { topic, partition, indexes: indexes.slice(from, to), records: records.slice(from, to), compression }
      await this.#deliver(half, results, until, cancelled)
    }
  }

  #identify(): Promise<ProducerIdentity> {
    this.#identity ??= ProducerIdentity.obtain(this.#guarded.cluster).catch(error => {
      this.#identity = undefined
      throw error
    })
    return this.#identity
  }

  #retire(identity: ProducerIdentity): void {
    identity.retired = true
    this.#identity?.then(
      current => {
        if (current.retired) this.#identity = undefined
      },
      // Refused meanwhile: there is none to forget.
      () => {},
    )
  }
}

/** One share's way to the broker, under one sequence number as long as its producer's identity stands. */
class Attempt {
  identity: ProducerIdentity | undefined
  /** Under way, and not answered. */
  sent = false
  #bytes: Buffer | undefined

  constructor(readonly share: Share) {}

  encoded(identity: ProducerIdentity): Buffer {
    if (this.#bytes === undefined || this.identity !== identity) {
      this.identity = identity
      const { records, compression } = this.share
      this.#bytes = encodeRecordBatch(records, identity.next(partitionName(this.share)), compression)
    }
    return this.#bytes
  }

  written({ baseOffset }: ProduceAnswer, results: ProduceResult[]): void {
    const { topic, partition, indexes } = this.share
    this.identity!.advance(partitionName(this.share), indexes.length)
    indexes.forEach((index, at) => {
      results[index] = written(topic, partition, baseOffset + BigInt(at))
    })
  }

  refused(why: string, retriable: boolean, cause: unknown, results: ProduceResult[], reason?: string): void {
    const { topic, partition, indexes } = this.share
    for (const index of indexes)
      results[index] = refused(publishError(topic, `${why} (partition ${partition})`, retriable, cause, reason))
  }
}

function encodableRecord({ topic, key, value, headers, timestamp }: ProduceRecord): EncodableRecord {
  if (timestamp !== undefined && !Number.isSafeInteger(timestamp)) {
    throw publishError(
      topic,
      `its timestamp is ${timestamp}, not a safe integer`,
      false,
      undefined,
      'INVALID_TIMESTAMP',
    )
  }
  return {
    key: bytesOf(key),
    value: bytesOf(value),
    headers: headerPairs(headers),
    timestamp: timestamp ?? Date.now(),
  }
}

function bytesOf(content: Buffer | string | null | undefined): Buffer | null {
  if (content === undefined || content === null) return null
  return typeof content === 'string' ? Buffer.from(content) : content
}

function publishError(topic: string, why: string, retriable: boolean, cause?: unknown, reason?: string): PublishError {
  const message = `a record could not be written to topic '${topic}': ${why}`
  return new PublishError(message, { cause, retriable, topic, ...(reason === undefined ? {} : { reason }) })
}

function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
