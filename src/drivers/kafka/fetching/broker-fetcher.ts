import { FetchError } from '../../../errors.js'
import { kafkaError } from '../../../protocol/errors.js'
import { type FetchResponse, fetch, isolationLevel } from '../../../protocol/messages/fetch.js'
import { UnsupportedCodecError } from '../../../protocol/records/errors.js'
import { ExpansionBudget } from '../../../protocol/records/expansion-budget.js'
import type { LazyRecordBatch } from '../../../protocol/records/lazy-record-batch.js'
import { readPartitionRecords } from '../../../protocol/records/partition-records.js'
import type { RequestOf } from '../../../protocol/schema/message.js'
import { type Uuid, ZERO_UUID } from '../../../protocol/wire/uuid.js'
import { Backoff } from '../backoff.js'
import { refusedConnection } from '../fatal-error.js'
import { byTopic, PartitionMap } from '../topic-partition.js'
import { RefusedConnectionError } from '../transport/failures.js'
import type { Assignment } from './assignment.js'
import { maxPartitionBytes, minPartitionBytes } from './fetch-size.js'
import type { Fetching } from './fetching.js'

/** How long a broker may wait for records, ms. A resumed partition is fetched after at most this time. */
const maxWait = 100

/** How much longer than `maxWait` a broker may take to answer, ms. */
const answerTimeout = 5_000

/** The partitions of a request share this many bytes. */
const maxAnswerBytes = 4 * maxPartitionBytes

/** How long a refused partition is not fetched, ms. */
const shortHold = 100
const longHold = 2_000

const firstPause = 100
const maxPause = 1_000

/** The latest version with topic names; later ones need topic ids. */
const namedVersion = 12

type FetchedPartition = FetchResponse['responses'][number]['partitions'][number]

/** One partition of a request. */
interface FetchPosition {
  readonly assignment: Assignment
  readonly offset: number
  readonly jumps: number
}

/** A request, and its answer. */
interface PendingFetch {
  readonly sought: PartitionMap<FetchPosition>
  /** Topic names by id. */
  readonly names: ReadonlyMap<Uuid, string>
  readonly answer: Promise<FetchResponse>
  /** When the request was sent, by the monotonic clock, ms. */
  readonly sentAt: number
}

/** The answer for one partition. */
interface Fetched {
  readonly sought: FetchPosition
  readonly partition: FetchedPartition
  readonly batches: readonly LazyRecordBatch[]
  /** True if the broker sent no bytes for it. */
  readonly isEmpty: boolean
}

/** Where a partition is read after the records of the latest answer are delivered. */
interface Ahead {
  readonly offset: number
  readonly epoch: number
}

/**
 * Fetches from one broker as long as it leads an assigned partition. If there is more to read, the next request is sent before
 * the current answer is delivered, so that the broker works meanwhile. At most one answer is ahead like that.
 */
export class BrokerFetcher {
  readonly #backoff = new Backoff(firstPause, maxPause)
  #turn = 0

  constructor(
    readonly node: number,
    readonly fetching: Fetching,
  ) {}

  /** Resolves once this broker leads no assigned partition, or fetching has ended. Never rejects. */
  async run(): Promise<void> {
    const { fetching } = this
    let ahead: PendingFetch | undefined
    while (!fetching.ended && (ahead !== undefined || fetching.ledBy(this.node).length > 0)) {
      const asked = ahead ?? this.#request()
      ahead = undefined
      if (asked === undefined) {
        await this.#untilFetchable()
        continue
      }
      try {
        const fetched = this.#decoded(await asked.answer, asked)
        this.#backoff.reset()
        if (fetched.some(hasMore)) ahead = this.#request(positionsAfter(fetched))
        for (const each of fetched) this.#deliver(each)
        if (fetched.every(({ isEmpty }) => isEmpty)) for (const each of fetched) this.#foundNothing(each)
      } catch (error) {
        await this.#recover(error)
      }
    }
  }

  /** Waits until something may be fetched: a partition is resumed, or a hold ends. */
  async #untilFetchable(): Promise<void> {
    const { bell, host } = this.fetching
    const soonest = Math.min(...this.#fetchable().map(({ heldFor }) => heldFor))
    if (!host.delivering || !Number.isFinite(soonest)) await bell.rung()
    // The bell does not ring when a hold ends.
    else if (soonest > 0) await bell.wait(soonest + 1)
  }

  /** The assignments of this broker that may be fetched, those on hold included. */
  #fetchable(): readonly Assignment[] {
    return this.fetching.ledBy(this.node).filter(({ paused, ended, resting }) => !(paused || ended || resting))
  }

  // ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #request(positions?: ReadonlyMap<Assignment, Ahead>): PendingFetch | undefined {
    const { host } = this.fetching
    if (!host.delivering) return undefined
    const wanted = this.#fetchable().filter(({ heldFor }) => heldFor === 0)
    if (wanted.length === 0) return undefined
    const sought = new PartitionMap<FetchPosition>()
    const share = Math.max(minPartitionBytes, Math.floor(maxAnswerBytes / wanted.length))
    // A broker fills an answer in the order of the request, so the order rotates.
    const first = this.#turn++ % wanted.length
    const topics = byTopic([...wanted.slice(first), ...wanted.slice(0, first)])
    const request = {
      maxWaitMs: maxWait,
      minBytes: 1,
      maxBytes: maxAnswerBytes,
      isolationLevel: isolationLevel.readCommitted,
      rackId: host.rack ?? '',
      topics: [...topics].map(([topic, assignments]) => ({
        topic,
        topicId: assignments[0]!.topicId,
        partitions: assignments.map(assignment => {
          const { offset, epoch } = positions?.get(assignment) ?? {
            offset: assignment.next,
            epoch: assignment.lastEpoch,
          }
          sought.set(assignment, { assignment, offset, jumps: assignment.jumps })
          return {
            partition: assignment.partition,
            fetchOffset: offset,
            lastFetchedEpoch: epoch,
            partitionMaxBytes: Math.min(assignment.size.bytes, share),
          }
        }),
      })),
    }
    const hasIds = wanted.every(({ topicId }) => topicId !== ZERO_UUID)
    const sentAt = host.clock.monotonic()
    const answer = host.cluster.ask(
      this.node,
      host.lane,
      fetch,
      version => (version >= 12 ? request : withoutEpochs(request)),
      { timeout: maxWait + answerTimeout, ...(!hasIds && { maxVersion: namedVersion }) },
    )
    // A request ahead may never be awaited: its rejection must not be unhandled.
    answer.catch(() => {})
    const names = new Map(wanted.map(({ topicId, topic }) => [topicId, topic]))
    return { sought, names, answer, sentAt }
  }

  // ── Answers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #decoded({ errorCode, responses }: FetchResponse, asked: PendingFetch): readonly Fetched[] {
    const budget = new ExpansionBudget()
    if (errorCode !== 0) throw new Error(`broker ${this.node} refuses to be fetched from: ${kafkaError(errorCode)}`)
    return responses.flatMap(({ topic, topicId, partitions }) => {
      const name = topic === '' ? asked.names.get(topicId) : topic
      return name === undefined ? [] : this.#decodedOf(name, partitions, asked, budget)
    })
  }

  #decodedOf(
    topic: string,
    partitions: readonly FetchedPartition[],
    { sought, sentAt }: PendingFetch,
    budget: ExpansionBudget,
  ): readonly Fetched[] {
    const { host } = this.fetching
    const took = host.clock.monotonic() - sentAt
    return partitions.flatMap(partition => {
      const asked = sought.get({ topic, partition: partition.partitionIndex })
      if (asked === undefined) return []
      if (partition.errorCode !== 0 || partition.divergingEpoch !== null) {
        this.#refused(asked, partition)
        return []
      }
      asked.assignment.wasRead = true
      asked.assignment.answered = true
      asked.assignment.refusal = undefined
      asked.assignment.endsAt(stableEnd(partition))
      const { records, abortedTransactions, preferredReadReplica } = partition
      this.#follow(asked.assignment, preferredReadReplica)
      const options = host.codecs === undefined ? {} : { codecs: host.codecs }
      const bytes = records ?? nothing
      if (bytes.length > 0) asked.assignment.size.answered(took)
      const { batches, failure, isOldFormat } = readPartitionRecords(
        bytes,
        0,
        bytes.length,
        asked.offset,
        abortedTransactions ?? [],
        options,
        budget,
      )
      if (failure !== undefined) this.#unreadable(asked, failure.offset, failure.error)
      if (isOldFormat)
        this.#unreadable(asked, asked.offset, new Error('records of a format before Kafka 0.11 are not read'))
      return [{ sought: asked, partition, batches, isEmpty: bytes.length === 0 }]
    })
  }

  #deliver({ sought, batches }: Fetched): void {
    const { assignment } = sought
    const { host } = this.fetching
    for (const batch of batches) {
      // The answer is stale if the assignment has ended or its position has moved since the request. Also, the delivery of an
      // earlier batch of this answer may have paused or closed the client.
      if (assignment.ended || assignment.resting || !host.delivering || !isCurrent(sought)) return
      if (batch.lastOffset < assignment.next) continue
      // While leadership moves, two brokers may send the same records. Those already delivered are skipped.
      let from = 0
      while (from < batch.count && batch.offset(from) < assignment.next) from++
      assignment.advance(batch.baseOffset, batch.lastOffset, batch.partitionLeaderEpoch)
      host.emit({ type: 'batch', assignment, batch, from })
    }
  }

  /**
   * The answer was empty, so it had room for records of every partition. If the stable end of the log is beyond the requested
   * offset, compaction has removed everything in between.
   */
  #foundNothing({ sought, partition }: Fetched): void {
    const { assignment, offset } = sought
    const end = stableEnd(partition)
    if (assignment.ended || !isCurrent(sought) || assignment.next !== offset) return
    if (end > offset) this.fetching.host.foundNothing?.(assignment, end)
    else this.fetching.host.foundEnd?.(assignment)
  }

  /** Fetches from the replica that the leader named (KIP-392), until that replica refuses. */
  #follow(assignment: Assignment, replica: number): void {
    if (replica < 0 || replica === this.node) return
    assignment.replica = replica
    this.fetching.wake()
  }

  /** The broker refused one partition. The others of the same answer are delivered. */
  #refused({ assignment, offset, jumps }: FetchPosition, { errorCode, divergingEpoch }: FetchedPartition): void {
    if (assignment.ended || assignment.jumps !== jumps) return
    const wasFollowing = assignment.replica !== undefined
    assignment.replica = undefined
    // Nobody may fetch from the leader at present.
    if (wasFollowing) this.fetching.wake()
    assignment.answered = true
    if (divergingEpoch !== null) {
      if (offset === assignment.next) this.fetching.host.outOfRange(assignment, divergingEpoch)
      return
    }
    const error = kafkaError(errorCode)
    if (error.name === 'OFFSET_OUT_OF_RANGE') {
      // A follower may not have the offset yet.
      if (!wasFollowing && offset === assignment.next) this.fetching.host.outOfRange(assignment, undefined)
    } else if (
      error.has('staleMetadata') ||
      error.name === 'OFFSET_NOT_AVAILABLE' ||
      error.name === 'FENCED_LEADER_EPOCH'
    ) {
      assignment.hold(shortHold)
      // Usually over in a moment; otherwise `UnreadWatch` reports it.
      assignment.answered = false
      assignment.refusal = `the broker answers ${error}`
      this.#refresh()
    } else if (error.has('notAuthorized')) {
      assignment.hold(longHold)
      this.fetching.host.forbidden(assignment)
    } else {
      assignment.hold(longHold)
      this.fetching.trouble(assignment, `the broker answers ${error}`)
    }
  }

  /** The bytes cannot be decoded, or are compressed with a codec that is not available. */
  #unreadable({ assignment }: FetchPosition, offset: number, cause: Error): void {
    assignment.hold(longHold)
    // Reported once, although it is fetched again.
    if (assignment.unreadableAt === offset) return
    assignment.unreadableAt = offset
    const { topic, partition } = assignment
    const error = new FetchError(
      `the record batch at ${topic}-${partition}@${offset} cannot be read: ${cause.message}`,
      {
        cause,
        topic,
        partition,
        offset: BigInt(offset),
      },
    )
    if (cause instanceof UnsupportedCodecError) this.fetching.host.fail(error)
    else this.fetching.host.unreadable(error)
  }

  #refresh(): void {
    // A new leader is reported by `onChange`. A rejection means that the brokers are away, which is reported elsewhere.
    this.fetching.host.cluster.refresh().catch(() => {})
  }

  async #recover(error: unknown): Promise<void> {
    const { host } = this.fetching
    if (this.fetching.ended) return
    if (error instanceof RefusedConnectionError) {
      host.fail(refusedConnection(error))
      return
    }
    const why = error instanceof Error ? error.message : String(error)
    for (const assignment of this.fetching.ledBy(this.node)) {
      assignment.replica = undefined
      assignment.refusal = why
    }
    this.#backoff.failed()
    this.#refresh()
    await this.#backoff.wait(host.cluster.ended)
  }
}

/** Whether the broker has more than it sent, so that it will answer the next request at once. */
function hasMore({ partition, batches }: Fetched): boolean {
  const last = batches.at(-1)
  return last !== undefined && last.lastOffset + 1 < stableEnd(partition)
}

/** Nothing is read past an open transaction. Old brokers report -1. */
function stableEnd({ lastStableOffset, highWatermark }: FetchedPartition): number {
  return lastStableOffset < 0 ? highWatermark : lastStableOffset
}

/** Where to continue once these answers are delivered. Answers that cannot be delivered (see `isCurrent`) are left out. */
function positionsAfter(fetched: readonly Fetched[]): ReadonlyMap<Assignment, Ahead> {
  const positions = new Map<Assignment, Ahead>()
  for (const { sought, batches } of fetched) {
    const last = batches.at(-1)
    if (last === undefined || !isCurrent(sought)) continue
    const { assignment } = sought
    const offset = Math.max(last.lastOffset + 1, assignment.next)
    positions.set(assignment, {
      offset,
      epoch: offset === assignment.next ? assignment.lastEpoch : last.partitionLeaderEpoch,
    })
  }
  return positions
}

/** True if the position has not jumped since the request, and everything before the requested offset is delivered. */
function isCurrent({ assignment, offset, jumps }: FetchPosition): boolean {
  return assignment.jumps === jumps && assignment.next >= offset
}

/** The request for versions without the epoch of the last record. */
function withoutEpochs({ topics, ...request }: RequestOf<typeof fetch>): RequestOf<typeof fetch> {
  return {
    ...request,
    topics: topics.map(({ partitions, ...topic }) => ({
      ...topic,
      partitions: partitions.map(({ lastFetchedEpoch: _, ...partition }) => partition),
    })),
  }
}

const nothing = Buffer.alloc(0)
