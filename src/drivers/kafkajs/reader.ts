import type { DriverEvent, StartFrom } from '../../driver.js'
import { FetchError, type RxMikaError } from '../../errors.js'
import { type Assignment, partitionName } from './assignment.js'
import type { FetchedBatches } from './decode.js'
import { UnsupportedCodecError } from './decoding/errors.js'
import type { RefusedFetch } from './decoding/lazy-decoding.js'
import { Doorbell } from './doorbell.js'
import type { Cluster, FetchPartition, FetchRequest, FetchResponse, FetchTopic } from './kafkajs-internals.js'
import { isConnectionFailure, isRefusal, isStaleMetadata, messageOf, outOfRange } from './protocol-error.js'
import { outOfRangeError, startPositions } from './start-position.js'

/** Pauses before a partition that was refused is asked for again, ms. */
const shortHold = 100
const longHold = 2_000

const offsetOutOfRange = 1
const topicAuthorizationFailed = 29
/** The leader is elsewhere, or there is none, or it is not ready. */
const staleMetadata = new Set([3, 5, 6, 9, 56, 74, 75, 76, 100])

/** What a reader needs of the consumption it belongs to. */
export interface ReaderHost {
  readonly held: ReadonlyMap<string, Assignment>
  /** False in a rebalance, and when all is over. */
  readonly delivering: boolean
  readonly startFrom: StartFrom
  readonly cluster: Cluster
  emit(event: DriverEvent): void
  /** Ends the stream with what cannot heal. */
  fail(error: RxMikaError): void
}

interface Sought {
  readonly assignment: Assignment
  readonly offset: number
  readonly reads: number
}

/**
 * Answers kafkajs's fetches: asks the broker for what may be read now, from where we are, and tells the client itself.
 * kafkajs gets an empty answer, upon which it looks after its heartbeat and asks again. So pauses and positions are
 * kept in one place, and neither a restart of kafkajs nor a rebalance can lose them.
 */
export class Reader {
  readonly #bell = new Doorbell()
  #refreshing: Promise<unknown> | undefined

  constructor(
    readonly host: ReaderHost,
    readonly decode: FetchedBatches,
  ) {}

  /** Something may be read that could not be before. */
  wake(): void {
    this.#bell.ring()
  }

  async fetch(request: FetchRequest, send: (request: FetchRequest) => Promise<FetchResponse>): Promise<FetchResponse> {
    const sought = new Map<string, Sought>()
    const topics = this.#plan(request.topics, sought)
    if (topics.length === 0) {
      await this.#bell.wait(request.maxWaitTime)
      return nothing
    }
    try {
      const { responses } = await send({ ...request, topics })
      for (const { topicName, partitions } of responses) {
        for (const fetched of partitions) {
          const asked = sought.get(partitionName({ topic: topicName, partition: fetched.partition }))
          if (asked === undefined) continue
          for (const { batch, from } of this.decode(topicName, asked.offset, fetched)) {
            // Another assignment, or another position, than when the broker was asked: what came is of the past. An
            // earlier batch of the same answer moves the position, and may have made the client pause or leave.
            const { assignment } = asked
            if (assignment.ended || !this.host.delivering || assignment.reads !== asked.reads) break
            if (batch.lastOffset < assignment.next) continue
            // While a leader moves, two brokers can be asked for the same; what the other gave is left out.
            let first = from
            while (first < batch.count && batch.offset(first) < assignment.next) first++
            assignment.next = batch.lastOffset + 1
            this.host.emit({ type: 'batch', assignment, batch, from: first })
          }
        }
      }
    } catch (error) {
      await this.#recover(error, sought)
    }
    return nothing
  }

  #plan(topics: readonly FetchTopic[], sought: Map<string, Sought>): FetchTopic[] {
    const planned: FetchTopic[] = []
    if (!this.host.delivering) return planned
    const now = Date.now()
    for (const { topic, partitions } of topics) {
      const wanted: FetchPartition[] = []
      for (const { partition, maxBytes } of partitions) {
        const name = partitionName({ topic, partition })
        const assignment = this.host.held.get(name)
        if (assignment === undefined || assignment.paused || assignment.heldUntil > now) continue
        sought.set(name, { assignment, offset: assignment.next, reads: assignment.reads })
        wanted.push({ partition, maxBytes, fetchOffset: String(assignment.next) })
      }
      if (wanted.length > 0) planned.push({ topic, partitions: wanted })
    }
    return planned
  }

  // ── What cannot be read ──────────────────────────────────────────────────────────────────────────────────────────

  /** A partition that the broker refused; the others of the same answer are delivered. */
  refused({ topic, partition, offset, errorCode }: RefusedFetch): boolean {
    const assignment = this.host.held.get(partitionName({ topic, partition }))
    if (assignment === undefined || assignment.ended) return true
    if (errorCode === topicAuthorizationFailed) {
      this.host.fail(new FetchError(`not authorized to read topic '${topic}'`, { topic, partition, offset }))
    } else if (errorCode === offsetOutOfRange) {
      if (Number(offset) === assignment.next) void this.#reset(assignment)
    } else if (staleMetadata.has(errorCode)) {
      assignment.hold(shortHold)
      void this.#refresh()
    } else {
      assignment.hold(longHold)
      const message = `the broker refuses to read ${topic}/${partition} at ${offset}: error ${errorCode} of Kafka's`
      this.host.emit({ type: 'trouble', error: new FetchError(message, { topic, partition, offset }) })
    }
    return true
  }

  /** Bytes that are no records, or compressed by a codec that is not there. */
  unreadable(error: FetchError): void {
    const { topic, partition } = error
    if (error.cause instanceof UnsupportedCodecError) {
      this.host.fail(error)
      return
    }
    if (topic !== undefined && partition !== undefined) {
      const assignment = this.host.held.get(partitionName({ topic, partition }))
      if (assignment === undefined || assignment.ended) return
      assignment.hold(longHold)
      // Told once, however often it is tried again.
      if (assignment.unreadableAt === assignment.next) return
      assignment.unreadableAt = assignment.next
    }
    this.host.emit({ type: 'trouble', error })
  }

  /**
   * kafkajs would drop the broker, rejoin the group, or commit a position of its own. None of it is needed: newer
   * metadata and another attempt are.
   */
  async #recover(error: unknown, sought: ReadonlyMap<string, Sought>): Promise<void> {
    const place = outOfRange(error)
    const asked = place === undefined ? undefined : sought.get(partitionName(place))
    if (asked !== undefined) return this.#reset(asked.assignment)
    if (isRefusal(error) || !(isStaleMetadata(error) || isConnectionFailure(error))) throw error
    await this.#bell.wait(shortHold)
    await this.#refresh()
  }

  #refresh(): Promise<unknown> {
    this.#refreshing ??= this.host.cluster
      .refreshMetadata()
      .catch(() => {})
      .finally(() => {
        this.#refreshing = undefined
      })
    return this.#refreshing
  }

  /** Goes on where `startFrom` says, and says so. */
  async #reset(assignment: Assignment): Promise<void> {
    const from = assignment.next
    assignment.hold(longHold)
    const { startFrom, cluster } = this.host
    try {
      const starts = await startPositions(cluster, [assignment], startFrom === 'committed' ? 'earliest' : startFrom)
      const to = starts.get(partitionName(assignment))!
      if (assignment.ended || assignment.next !== from) return
      assignment.move(to)
      this.host.emit({ type: 'trouble', error: outOfRangeError(assignment, from, to) })
      this.wake()
    } catch (error) {
      // Asked again by the next fetch, which is refused again.
      const message = `the position ${from} of ${partitionName(assignment)} is out of range: ${messageOf(error)}`
      const { topic, partition } = assignment
      const options = { cause: error, topic, partition, offset: BigInt(from) }
      if (!assignment.ended) this.host.emit({ type: 'trouble', error: new FetchError(message, options) })
    }
  }
}

const nothing: FetchResponse = { responses: [] }
