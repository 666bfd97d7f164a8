import { type Subscriber, Subscription } from 'rxjs'
import type { Clock } from '../../../clock.js'
import type { ReadEvent, ReadRequest } from '../../../driver.js'
import { ConfigurationError, FetchError, type RxMikaError } from '../../../errors.js'
import { partitionName, placeName } from '../../../place.js'
import { EARLIEST, listOffsets } from '../../../protocol/messages/list-offsets.js'
import type { Codecs } from '../../../protocol/records/codecs.js'
import { type Uuid, ZERO_UUID } from '../../../protocol/wire/uuid.js'
import type { RecordBatch } from '../../../record-batch.js'
import { pause } from '../backoff.js'
import type { Cluster } from '../cluster/cluster.js'
import type { KnownTopic } from '../cluster/metadata.js'
import { ProtocolFailure } from '../cluster/protocol-failure.js'
import { refusedConnection } from '../fatal-error.js'
import { Assignment } from '../fetching/assignment.js'
import { type Diverged, Fetching, type FetchingEvent, type FetchingHost } from '../fetching/fetching.js'
import { GoneTopics } from '../gone-topics.js'
import { cannotReadTopic, cannotSeeTopic } from '../missing-right.js'
import { untilDone } from '../positions/by-leader.js'
import { earliest, latest, offsetsAt } from '../positions/list-offsets.js'
import { divergenceOf } from '../positions/reset.js'
import type { TopicPartition } from '../topic-partition.js'
import { RefusedConnectionError, UnansweredError, UnsupportedRequestError } from '../transport/failures.js'
import type { ReadLane } from '../transport/transport.js'
import { unexpected } from '../unexpected.js'
import { type Bounds, boundsOf, isPositions } from './bounds.js'

/** How long to wait for a topic or a partition that does not exist, ms: it may have been created a moment ago. */
const patience = 3_000
const firstPause = 100
const maxPause = 1_000
/** After this many failures in a row to find the bounds, the failure is reported. */
const reportedAfter = 3
/** How long a partition is not fetched while its position is being looked up, ms. */
const hold = 2_000
/** Requests the first offset on the broker itself, without tiered storage (KIP-405). */
const EARLIEST_LOCAL = -4n
const earliestLocalSince = 8

export interface BoundedReadHost {
  readonly cluster: Cluster
  readonly clock: Clock
  readonly codecs: Codecs | undefined
  readonly lane: ReadLane
}

/**
 * One subscription to the driver's `read`: finds the bounds of each partition, and fetches the records between them.
 *
 * It has its own fetchers and connections, so it neither waits for what the client consumes nor delays it.
 */
export class BoundedRead implements FetchingHost {
  readonly cluster: Cluster
  readonly clock: Clock
  readonly codecs: Codecs | undefined
  readonly lane: ReadLane
  readonly #fetching: Fetching
  readonly #ends = new Map<Assignment, number>()
  /** Partitions whose bounds are not known yet. */
  #unknown = 0
  /** True: the topic was found, and the bounds of its partitions are being looked up. */
  #begun = false
  /** The number of partitions in the last metadata. */
  #partitions = 0
  #topicId: Uuid = ZERO_UUID
  #paused = false
  readonly #over = new AbortController()
  readonly #subscriptions = new Subscription()
  readonly #gone: GoneTopics

  constructor(
    host: BoundedReadHost,
    readonly request: ReadRequest,
    readonly subscriber: Subscriber<ReadEvent>,
  ) {
    this.cluster = host.cluster
    this.clock = host.clock
    this.codecs = host.codecs
    this.lane = host.lane
    this.#fetching = new Fetching(this)
    this.#gone = new GoneTopics(host.cluster, host.clock, () => this.fail(this.#error('was deleted while it was read')))
  }

  get rack(): string | undefined {
    return this.request.rack
  }

  get delivering(): boolean {
    return !this.#over.signal.aborted
  }

  start(): void {
    const { topic, paused } = this.request
    this.#subscriptions.add(this.cluster.watch([topic]))
    this.#subscriptions.add(this.cluster.onChange(() => this.#onMetadata()))
    this.#subscriptions.add(paused?.subscribe(isPaused => this.#pause(isPaused)))
    this.#begin().catch(cause => this.fail(unexpected(cause)))
  }

  async #begin(): Promise<void> {
    const { topic, partitions, from } = this.request
    const positions = isPositions(from) ? from : undefined
    const named = [...(partitions ?? positions?.keys() ?? [])].filter(partition => positions?.has(partition) !== false)
    const known = await this.#existing(Math.max(0, ...named) + 1)
    if (known === undefined) return
    const count = known.partitions.length
    const isWhole = partitions === undefined && positions === undefined
    const wanted = isWhole ? [...known.partitions.keys()] : named
    const missing = wanted.find(partition => partition >= count)
    if (missing !== undefined) {
      const message = `read: partition ${partitionName({ topic, partition: missing })} does not exist (the topic has ${count} partitions)`
      return this.fail(new ConfigurationError(message))
    }
    this.#topicId = known.id
    this.#partitions = count
    this.#begun = true
    this.#takeUp(wanted, this.request)
    this.#completeOnceDone()
  }

  /** Resolves to the topic once brokers know it, with `count` partitions if these exist in time; undefined if the read ended before. */
  async #existing(count: number): Promise<KnownTopic | undefined> {
    const { topic } = this.request
    const until = this.clock.monotonic() + patience
    for (let wait = firstPause; this.delivering; wait = Math.min(2 * wait, maxPause)) {
      try {
        const known = (await this.cluster.learn([topic])).get(topic)
        if (!this.delivering) return undefined
        const isLate = this.clock.monotonic() >= until
        if (known !== undefined && known.partitions.length >= (isLate ? 1 : count)) return known
        if (known?.error?.has('notAuthorized')) throw new ConfigurationError(cannotSeeTopic(topic))
        if (isLate) throw new ConfigurationError(`topic '${topic}' does not exist`)
      } catch (error) {
        if (error instanceof RefusedConnectionError || error instanceof UnsupportedRequestError) {
          throw refusedConnection(error)
        }
        // The driver reports brokers that are away, for everything that waits for them.
        if (!(error instanceof UnansweredError)) throw error
      }
      await pause(wait, this.#over.signal)
    }
    return undefined
  }

  // ── Bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #takeUp(partitions: readonly number[], bounds: Pick<ReadRequest, 'from' | 'until'>): void {
    const { topic } = this.request
    this.#unknown += partitions.length
    untilDone(
      this.cluster,
      partitions.map(partition => ({ topic, partition })),
      (led, failures) => this.#isDone(led, bounds, failures),
    ).catch(cause => this.fail(unexpected(cause)))
  }

  /**
   * One attempt for partitions of one leader. While it is away, those of the others are read. Resolves to false, after a pause,
   * if there has to be another one.
   */
  async #isDone(
    places: readonly TopicPartition[],
    bounds: Pick<ReadRequest, 'from' | 'until'>,
    failures: number,
  ): Promise<boolean> {
    try {
      const found = await boundsOf(this.cluster, places, bounds)
      if (!this.delivering) return true
      this.#unknown -= places.length
      for (const each of found) if (each.trouble !== undefined) this.#trouble(each.trouble)
      this.#add(found)
      this.#completeOnceDone()
      return true
    } catch (error) {
      if (!this.delivering) return true
      if (error instanceof ProtocolFailure && error.error.has('notAuthorized')) {
        this.#forbid(error)
        return true
      }
      if (error instanceof RefusedConnectionError) {
        this.fail(refusedConnection(error))
        return true
      }
      if (failures + 1 === reportedAfter) {
        const why = `not known yet: ${(error as Error).message}`
        const { topic, partition } = places[0]!
        const message = `the bounds of ${places.map(partitionName).join(', ')} are ${why}`
        this.#trouble(new FetchError(message, { cause: error, topic, partition }))
      }
      await Promise.race([this.cluster.refresh().catch(() => {}), pause(maxPause, this.#over.signal)])
      await pause(Math.min(firstPause * 2 ** failures, maxPause), this.#over.signal)
      return !this.delivering
    }
  }

  #add(found: readonly Bounds[]): void {
    const added: Assignment[] = []
    for (const { place, start, end } of found) {
      if (start >= end) continue
      const position = { offset: start, leaderEpoch: -1, metadata: '' }
      const assignment = new Assignment(place.topic, place.partition, this.#topicId, position, this.clock)
      if (!this.#paused) assignment.resume()
      this.#ends.set(assignment, end)
      added.push(assignment)
    }
    if (this.delivering) this.#fetching.add(added)
  }

  #pause(isPaused: boolean): void {
    this.#paused = isPaused
    for (const assignment of this.#ends.keys()) {
      if (isPaused) assignment.pause()
      else assignment.resume()
    }
    if (!isPaused) this.#fetching.wake()
  }

  // ── Called by fetching ───────────────────────────────────────────────────────────────────────────────────────────

  emit(event: FetchingEvent): void {
    if (event.type === 'trouble') return this.#trouble(event.error)
    const { batch, from } = event
    const assignment = event.assignment as Assignment
    const end = this.#ends.get(assignment)
    if (end === undefined) return
    const to = indexAt(batch, end)
    if (from < to) this.subscriber.next({ type: 'batch', partition: assignment.partition, batch, from, to })
    this.#checkEnd(assignment)
  }

  foundNothing(assignment: Assignment, end: number): void {
    const from = assignment.next
    // Once per gap, however often the broker is asked meanwhile.
    assignment.hold(hold)
    this.#isOnBroker(assignment)
      .then(isThere => {
        if (!isThere || assignment.ended || assignment.next !== from || !this.delivering) return
        assignment.jump(end)
        this.#checkEnd(assignment)
        this.#fetching.wake()
      })
      // Requested again after the hold.
      .catch(() => {})
  }

  /** The log ends before the end that was found at the beginning: it may have been cut off behind the position. */
  foundEnd(assignment: Assignment): void {
    const { next: from, jumps } = assignment
    const bound = this.#ends.get(assignment)
    if (bound === undefined || bound === Number.POSITIVE_INFINITY) return
    assignment.hold(hold)
    // The fetched broker may be a follower that is behind, or a new leader that does not know the high watermark yet. This
    // request goes to the leader, which refuses it until it knows (KIP-207).
    offsetsAt(this.cluster, [assignment], latest)
      .then(ends => {
        const end = ends.get(assignment)!.offset
        const isAsBefore = assignment.jumps === jumps && assignment.next === from
        if (end < bound && isAsBefore && !assignment.ended && this.delivering) this.#cutOff(assignment, end)
        assignment.hold(0)
        this.#fetching.wake()
      })
      // Requested again after the hold.
      .catch(() => {})
  }

  #cutOff(assignment: Assignment, end: number): void {
    const { topic, partition, next } = assignment
    const lost = placeName({ topic, partition, offset: BigInt(Math.max(end, next)) })
    const why = `the log was cut off at ${lost} while it was read; reading ends there`
    this.#trouble(new FetchError(why, { topic, partition, offset: BigInt(Math.max(end, next)) }))
    this.#ends.set(assignment, end)
    this.#checkEnd(assignment)
  }

  /** A broker may leave records in tiered storage out of its answer, because reading them takes time. */
  async #isOnBroker({ topic, partition, next }: Assignment): Promise<boolean> {
    const leader = this.cluster.leaderOf(topic, partition)
    if (leader === undefined) return false
    const answer = await this.cluster.ask(leader, 'control', listOffsets, version => ({
      topics: [
        {
          name: topic,
          partitions: [
            { partitionIndex: partition, timestamp: version >= earliestLocalSince ? EARLIEST_LOCAL : EARLIEST },
          ],
        },
      ],
    }))
    const found = answer.topics[0]?.partitions[0]
    return found !== undefined && found.errorCode === 0 && found.offset >= 0 && found.offset <= next
  }

  unreadable(error: FetchError): void {
    this.fail(error)
  }

  forbidden(): void {
    this.#forbid()
  }

  #forbid(cause?: unknown): void {
    const { topic } = this.request
    this.fail(new FetchError(cannotReadTopic([topic]), { cause, topic }))
  }

  outOfRange(assignment: Assignment, diverged: Diverged | undefined): void {
    assignment.hold(hold)
    // It will be refused, and looked up, again after the hold.
    this.#reset(assignment, diverged).catch(error => {
      if (assignment.ended || !this.delivering) return
      this.#outOfRange(assignment, assignment.next, `and a new one is not known: ${error.message}`, error)
    })
  }

  /**
   * If retention has deleted the next records, reading continues at the new start of the log. If the log was truncated (an
   * unclean election), it continues where the logs diverge, and ends at the present end of the log if that is lower.
   */
  async #reset(assignment: Assignment, diverged: Diverged | undefined): Promise<void> {
    const { next: from, jumps } = assignment
    const [beginnings, ends] = await Promise.all([
      offsetsAt(this.cluster, [assignment], earliest),
      offsetsAt(this.cluster, [assignment], latest),
    ])
    const beginning = beginnings.get(assignment)!.offset
    const end = ends.get(assignment)!.offset
    const divergence = diverged ?? (from > beginning ? await divergenceOf(assignment, this.cluster) : undefined)
    if (assignment.ended || assignment.jumps !== jumps || assignment.next !== from || !this.delivering) return
    const cut = divergence === undefined ? end : Math.max(divergence.endOffset, beginning)
    const to = from < beginning ? beginning : Math.min(cut, end)
    const bound = this.#ends.get(assignment)!
    if (from > beginning && bound !== Number.POSITIVE_INFINITY) this.#ends.set(assignment, Math.min(bound, end))
    assignment.jump(to, to === divergence?.endOffset ? divergence.epoch : -1)
    const why =
      from < beginning ? 'the records from there on were deleted by retention' : 'the log was cut off before it'
    this.#outOfRange(assignment, from, `${why}; reading goes on at ${to}`)
    this.#checkEnd(assignment)
    this.#fetching.wake()
  }

  // ── The topic ────────────────────────────────────────────────────────────────────────────────────────────────────

  #onMetadata(): void {
    const { topic, partitions, from, until } = this.request
    this.#gone.onMetadata([topic])
    const known = this.cluster.topic(topic)
    if (!this.#begun || !this.delivering || known === undefined || known.partitions.length === 0) return
    if (known.id !== this.#topicId && known.id !== ZERO_UUID && this.#topicId !== ZERO_UUID) {
      return this.fail(this.#error('was deleted and made again while it was read'))
    }
    const before = this.#partitions
    if (known.partitions.length <= before) return
    this.#partitions = known.partitions.length
    if (until !== 'forever' || partitions !== undefined || isPositions(from)) return
    const added = Array.from({ length: this.#partitions - before }, (_, at) => before + at)
    // The partitions were added while the topic was read, so none of their records is skipped.
    this.#takeUp(added, { from: 'earliest', until })
  }

  // ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Ends the partition if it is read to its end. */
  #checkEnd(assignment: Assignment): void {
    if (assignment.next < this.#ends.get(assignment)! || !this.delivering) return
    assignment.ended = true
    this.#ends.delete(assignment)
    this.#fetching.remove([assignment])
    this.#completeOnceDone()
  }

  #completeOnceDone(): void {
    if (!this.#begun || this.#unknown > 0 || this.#ends.size > 0 || !this.delivering) return
    // Nothing is read at present, but partitions may be added to the topic.
    if (this.request.until === 'forever' && this.request.partitions === undefined && !isPositions(this.request.from))
      return
    this.end()
    this.subscriber.complete()
  }

  fail(error: RxMikaError): void {
    if (!this.delivering) return
    this.end()
    this.subscriber.error(error)
  }

  /** Stops fetching and closes the connections. */
  end(): void {
    if (!this.delivering) return
    this.#over.abort()
    this.#subscriptions.unsubscribe()
    for (const assignment of this.#ends.keys()) assignment.ended = true
    this.#ends.clear()
    this.#fetching.end()
    this.cluster.transport.drop(this.lane, 'the read has ended')
  }

  #trouble(error: RxMikaError): void {
    if (this.delivering) this.subscriber.next({ type: 'trouble', error })
  }

  #outOfRange({ topic, partition }: Assignment, from: number, what: string, cause?: unknown): void {
    const offset = BigInt(from)
    const message = `the position ${placeName({ topic, partition, offset })} is out of range: ${what}`
    this.#trouble(new FetchError(message, { cause, topic, partition, offset }))
  }

  /** The error for what happened to the topic. */
  #error(what: string): FetchError {
    const { topic } = this.request
    return new FetchError(`topic '${topic}' ${what}`, { topic })
  }
}

/** The index of the first record at or after `offset`. */
function indexAt(batch: RecordBatch, offset: number): number {
  if (batch.lastOffset < offset) return batch.count
  let low = 0
  let high = batch.count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (batch.offset(middle) < offset) low = middle + 1
    else high = middle
  }
  return low
}
