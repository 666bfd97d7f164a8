import { setImmediate } from 'node:timers/promises'
import type { DriverEvent, StartFrom } from '../../driver.js'
import { FetchError, type RxMikaError } from '../../errors.js'
import { partitionName, placeName } from '../../place.js'
import { errorCode as codes, kafkaError } from '../../protocol/errors.js'
import { UnsupportedCodecError } from '../../protocol/records/errors.js'
import type { Assignment } from './assignment.js'
import type { FetchedBatches } from './decode.js'
import type { RefusedFetch } from './decoding/lazy-decoding.js'
import type { FetchedBatch } from './decoding/lazy-fetch.js'
import { Doorbell } from './doorbell.js'
import type { Cluster, FetchPartition, FetchRequest, FetchResponse, FetchTopic } from './kafkajs-internals.js'
import { cannotReadTopic } from './missing-right.js'
import { isConnectionFailure, isRefusal, isStaleMetadata, messageOf, outOfRange } from './protocol-error.js'
import { RepeatLimit } from './repeat-limit.js'
import { outOfRangeError, startPositions } from './start-position.js'

/** Pauses before a partition that was refused is asked for again, ms. */
const shortHold = 100
const longHold = 2_000

/** What a partition may give in one answer: its share of what all may, and between these two, bytes. */
const leastBytes = 64 * 1024
const mostBytes = 1024 * 1024
const answerBytes = 4 * mostBytes

/** The same refusal of the same partition is reported at most this often, ms. */
const reportEvery = 60_000

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

/** What a broker was asked for, and its answer. */
interface Asked {
  readonly sought: ReadonlyMap<string, Sought>
  readonly answer: Promise<FetchResponse>
}

/** What came of one partition. */
interface Fetched {
  readonly sought: Sought
  readonly batches: readonly FetchedBatch[]
}

/** Asks one broker. */
export type Send = (request: FetchRequest) => Promise<FetchResponse>

/**
 * Answers kafkajs's fetches: asks the broker for what may be read now, from where we are, and tells the client itself.
 * kafkajs gets an empty answer, upon which it looks after its heartbeat and asks again. So pauses and positions are
 * kept in one place, and neither a restart of kafkajs nor a rebalance can lose them.
 */
export class Reader {
  readonly #bell = new Doorbell()
  readonly #refusals = new RepeatLimit(reportEvery)
  #refreshing: Promise<unknown> | undefined

  constructor(
    readonly host: ReaderHost,
    readonly decode: FetchedBatches,
  ) {}

  /** Something may be read that could not be before. */
  wake(): void {
    this.#bell.ring()
  }

  /**
   * One broker's fetches. Where there is more to read, the broker is asked for it before what came is delivered, so that
   * it works meanwhile. At most one answer waits like that; it is of use only if all before it was delivered.
   */
  of(send: Send): (request: FetchRequest) => Promise<FetchResponse> {
    let ahead: Asked | undefined
    return async request => {
      let asked = ahead ?? this.#ask(request, send)
      ahead = undefined
      if (asked === undefined) {
        await this.#bell.wait(request.maxWaitTime)
        asked = this.#ask(request, send)
        if (asked === undefined) return nothing
      }
      try {
        const { responses } = await asked.answer
        const fetched = this.#decoded(responses, asked)
        if (hasMore(responses)) {
          ahead = this.#ask(request, send, positionsAfter(fetched))
          // kafkajs writes a request some turns of the microtask queue after it was given it.
          if (ahead !== undefined) await setImmediate()
        }
        for (const each of fetched) this.#deliver(each)
      } catch (error) {
        await this.#recover(error, asked.sought)
      }
      return nothing
    }
  }

  #ask(request: FetchRequest, send: Send, positions?: ReadonlyMap<Assignment, number>): Asked | undefined {
    const sought = new Map<string, Sought>()
    const topics = this.#plan(request.topics, sought, positions)
    if (topics.length === 0) return undefined
    const answer = send({ ...request, topics })
    // What is asked for ahead may be waited for by nobody: kafkajs stops fetching in a rebalance.
    answer.catch(() => {})
    return { sought, answer }
  }

  #decoded(responses: FetchResponse['responses'], { sought }: Asked): readonly Fetched[] {
    return responses.flatMap(({ topicName, partitions }) =>
      partitions.flatMap(fetched => {
        const asked = sought.get(partitionName({ topic: topicName, partition: fetched.partition }))
        return asked === undefined ? [] : [{ sought: asked, batches: this.decode(topicName, asked.offset, fetched) }]
      }),
    )
  }

  #deliver({ sought, batches }: Fetched): void {
    const { assignment } = sought
    for (const { batch, from } of batches) {
      // Another assignment, or another position, than when the broker was asked: what came is of the past. An earlier
      // batch of the same answer moves the position, and may have made the client pause or leave.
      if (assignment.ended || !this.host.delivering || !isOfUse(sought)) return
      if (batch.lastOffset < assignment.next) continue
      // While a leader moves, two brokers can be asked for the same; what the other gave is left out.
      let first = from
      while (first < batch.count && batch.offset(first) < assignment.next) first++
      assignment.next = batch.lastOffset + 1
      this.host.emit({ type: 'batch', assignment, batch, from: first })
    }
  }

  #plan(
    topics: readonly FetchTopic[],
    sought: Map<string, Sought>,
    positions?: ReadonlyMap<Assignment, number>,
  ): FetchTopic[] {
    if (!this.host.delivering) return []
    const planned: { topic: string; partitions: Omit<FetchPartition, 'maxBytes'>[] }[] = []
    for (const { topic, partitions } of topics) {
      const wanted: Omit<FetchPartition, 'maxBytes'>[] = []
      for (const { partition } of partitions) {
        const name = partitionName({ topic, partition })
        const assignment = this.host.held.get(name)
        if (assignment === undefined || assignment.paused || assignment.isHeld) continue
        const offset = positions?.get(assignment) ?? assignment.next
        sought.set(name, { assignment, offset, reads: assignment.reads })
        wanted.push({ partition, fetchOffset: String(offset) })
      }
      if (wanted.length > 0) planned.push({ topic, partitions: wanted })
    }
    const maxBytes = Math.max(leastBytes, Math.min(Math.floor(answerBytes / sought.size), mostBytes))
    return planned.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map(each => ({ ...each, maxBytes })),
    }))
  }

  // ── What cannot be read ──────────────────────────────────────────────────────────────────────────────────────────

  /** A partition that the broker refused; the others of the same answer are delivered. */
  refused({ topic, partition, offset, errorCode }: RefusedFetch): boolean {
    const assignment = this.host.held.get(partitionName({ topic, partition }))
    if (assignment === undefined || assignment.ended) return true
    const refusal = kafkaError(errorCode)
    if (errorCode === codes.TOPIC_AUTHORIZATION_FAILED) {
      this.host.fail(new FetchError(cannotReadTopic([topic]), { topic, partition, offset }))
    } else if (errorCode === codes.OFFSET_OUT_OF_RANGE) {
      if (Number(offset) === assignment.next) this.#reset(assignment).catch(error => this.host.fail(error))
    } else if (refusal.has('staleMetadata') || errorCode === codes.OFFSET_NOT_AVAILABLE) {
      // The leader is elsewhere, or there is none, or it is new and does not know yet how far its followers are (KIP-207).
      assignment.hold(shortHold)
      this.#refresh().catch(error => this.host.fail(error))
    } else {
      assignment.hold(longHold)
      if (!this.#refusals.allows(`${partitionName(assignment)} ${errorCode}`)) return true
      // Said of zstd alone, to whoever speaks a version of Fetch from before it.
      const codec = errorCode === codes.UNSUPPORTED_COMPRESSION_TYPE ? 'its records are compressed by zstd: ' : ''
      const message = `cannot read ${placeName({ topic, partition, offset })}: ${codec}${refusal}; it is tried again`
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
    if (asked !== undefined) {
      // Asked for ahead, or elsewhere: it is asked again from where we are.
      if (asked.offset !== asked.assignment.next || !isOfUse(asked)) return
      return this.#reset(asked.assignment)
    }
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

/** Whether the broker has more than it sent, so that it answers at once when it is asked for it. */
function hasMore(responses: FetchResponse['responses']): boolean {
  return responses.some(({ partitions }) =>
    partitions.some(({ highWatermark, lastStableOffset, messages }) => {
      const last = messages.at(-1) as { readonly offset: string } | undefined
      // Nothing is read past an open transaction. Brokers of old have no such offset, and say -1 or nothing.
      const stable = Number(lastStableOffset ?? -1)
      const end = stable < 0 ? Number(highWatermark) : stable
      return last !== undefined && Number(last.offset) + 1 < end
    }),
  )
}

/** Where to read on once all of that is delivered; what cannot be, for what comes before it was not, does not count. */
function positionsAfter(fetched: readonly Fetched[]): ReadonlyMap<Assignment, number> {
  return new Map(
    fetched.flatMap(({ sought, batches }) => {
      const { assignment } = sought
      const last = batches.at(-1)?.batch.lastOffset
      if (last === undefined || !isOfUse(sought)) return []
      return [[assignment, Math.max(last + 1, assignment.next)]]
    }),
  )
}

/** The position has not jumped since the broker was asked, and all before what was asked for is delivered. */
function isOfUse({ assignment, offset, reads }: Sought): boolean {
  return assignment.reads === reads && assignment.next >= offset
}

const nothing: FetchResponse = { responses: [] }
