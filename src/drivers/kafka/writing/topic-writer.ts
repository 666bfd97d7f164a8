import { Subscription } from 'rxjs'
import { PublishError } from '../../../errors.js'
import { Fifo } from '../../../fifo.js'
import type { Outgoing } from '../../../outgoing.js'
import { partitionOfKey } from '../../../partitioner.js'
import { partitionName } from '../../../place.js'
import { refused } from '../../../produce-result.js'
import { type Uuid, ZERO_UUID } from '../../../protocol/wire/uuid.js'
import { backoff } from './backoff.js'
import type { Leaders, PartitionLeader, TopicLeaders } from './leaders.js'
import { PartitionWriter } from './partition-writer.js'
import { reasonOf } from './reason.js'
import type { WritingTime } from './writing-time.js'

/** This many failures in a row are more than the creation of a topic takes; each request takes some time. */
const lastingFailures = 2

/** How long the known partitions of a topic are used, ms: partitions can be added. */
const maxAge = 60_000
/** How long a partition may be unknown, ms: brokers learn of added partitions one after the other. */
const patience = 1_000
/** The pause before partitions are requested again for one that is unknown, ms. */
const askAgain = 100

export interface TopicWriterHost {
  readonly leaders: Leaders
  readonly time: WritingTime
  wake(writer: PartitionWriter): void
  retire(producerId: bigint): void
}

/**
 * The records of one topic on their way to its partitions.
 *
 * They wait here, in order, until the topic's partitions are known for the first time. Later, the partitions are refreshed
 * without delaying records. Only partitions whose leader is in doubt wait for a refresh.
 */
export class TopicWriter {
  /** The `#age` of `Writing` when it was last used. */
  age = 0
  readonly #waiting = new Fifo<Outgoing>()
  /** Records for partitions that are not known, and since when they wait. */
  readonly #unplaced = new Map<Outgoing, number>()
  readonly #leaderless = new Set<PartitionWriter>()
  readonly #writers: PartitionWriter[] = []
  #known: readonly PartitionLeader[] | undefined
  #topicId: Uuid = ZERO_UUID
  #knownAt = 0
  /** True: leaders are in doubt, and not used before the next refresh. */
  #stale = false
  #asking: Subscription | undefined
  #failures = 0
  #turn = 0
  #ended = false

  constructor(
    readonly topic: string,
    readonly host: TopicWriterHost,
  ) {}

  push(outgoing: Outgoing): void {
    if (this.#known !== undefined) return this.#place(outgoing, this.#known)
    this.#waiting.push(outgoing)
    this.#ask()
  }

  /** Whether nothing is pending, so that this writer can be removed. See `PartitionWriter.isForgettable`. */
  get isForgettable(): boolean {
    if (this.#asking !== undefined || this.#waiting.size > 0) return false
    if (this.#unplaced.size > 0 || this.#leaderless.size > 0) return false
    return this.#writers.every(writer => writer.isForgettable)
  }

  /** The partition's leader. Undefined while it is looked up; the writer is then woken, or gets the failure. */
  leaderOf(writer: PartitionWriter): number | undefined {
    if (!this.#stale) {
      if (this.host.time.monotonic() - this.#knownAt > maxAge) this.#ask()
      const found = this.#known!.find(({ partitionId }) => partitionId === writer.partition)
      if (found !== undefined && found.leader >= 0) return found.leader
      this.#stale = true
      writer.failed('it has no leader at present', undefined)
      return undefined
    }
    this.#leaderless.add(writer)
    this.#ask()
    return undefined
  }

  leadersChanged(): void {
    this.#stale = true
  }

  /** Reports to the waiting records why nothing is written. */
  report(why: string, cause: unknown): void {
    const lasting = this.#failures >= lastingFailures
    const error = this.#error(why, true, cause)
    const dropped: Outgoing[] = []
    const kept: Outgoing[] = []
    const keep = (outgoing: Outgoing, again: () => void) => {
      if (outgoing.wanted) {
        again()
        kept.push(outgoing)
      } else dropped.push(outgoing)
    }
    for (const outgoing of this.#waiting.drain()) keep(outgoing, () => this.#waiting.push(outgoing))
    for (const [outgoing, since] of this.#drainUnplaced()) keep(outgoing, () => this.#unplaced.set(outgoing, since))
    // Only now, when all are back in their order: who is told may write another record, which goes behind them.
    for (const outgoing of kept) if (outgoing.wanted) outgoing.delayed(error, lasting)
    for (const outgoing of dropped) outgoing.abandoned()
    for (const writer of this.#leaderless) writer.report(why, cause, lasting)
  }

  end(why: string): void {
    this.#ended = true
    this.#asking?.unsubscribe()
    const error = this.#error(why, true, undefined)
    for (const outgoing of [...this.#waiting.drain(), ...this.#drainUnplaced().keys()]) {
      if (outgoing.wanted) outgoing.settle(refused(error))
      else outgoing.abandoned()
    }
    for (const writer of this.#writers) writer?.end(why)
  }

  // ── Which partition ──────────────────────────────────────────────────────────────────────────────────────────────

  #place(outgoing: Outgoing, known: readonly PartitionLeader[]): void {
    const { partition, key } = outgoing
    if (partition !== undefined && partition !== null) {
      if (this.#exists(partition, known)) return this.#writer(partition).push(outgoing)
      this.#unplaced.set(outgoing, this.host.time.monotonic())
      this.#ask()
    } else if (key !== undefined && key !== null) {
      const bytes = typeof key === 'string' ? Buffer.from(key) : key
      try {
        this.#writer(partitionOfKey(bytes, known.length)).push(outgoing)
      } catch (cause) {
        outgoing.settle(refused(this.#error('key must be a Buffer, a string or null', false, cause)))
      }
    } else this.#writer(this.#nextInTurn(known)).push(outgoing)
  }

  #exists(partition: number, known: readonly PartitionLeader[]): boolean {
    return known[partition]?.partitionId === partition
  }

  /** The next partition in turn. Partitions without a leader are skipped if others have one. */
  #nextInTurn(known: readonly PartitionLeader[]): number {
    for (let tried = 0; tried < known.length; tried++) {
      const { partitionId, leader } = known[this.#turn++ % known.length]!
      if (leader >= 0) return partitionId
    }
    return this.#turn++ % known.length
  }

  #refuseMissing(outgoing: Outgoing, known: readonly PartitionLeader[]): void {
    const name = partitionName({ topic: this.topic, partition: outgoing.partition! })
    const why = `partition ${name} does not exist (topic has ${known.length} partitions)`
    outgoing.settle(refused(this.#error(why, false, undefined)))
  }

  #writer(partition: number): PartitionWriter {
    let writer = this.#writers[partition]
    if (writer === undefined) {
      const { time, wake, retire } = this.host
      writer = new PartitionWriter(this.topic, partition, {
        time,
        wake,
        retire,
        leadersChanged: () => this.leadersChanged(),
      })
      this.#writers[partition] = writer
    }
    return writer
  }

  // ── What is known ────────────────────────────────────────────────────────────────────────────────────────────────

  #ask(): void {
    if (this.#asking !== undefined || this.#ended) return
    const asking = new Subscription()
    this.#asking = asking
    asking.add(
      this.host.leaders.partitions(this.topic).subscribe({
        next: learnt => {
          this.#asking = undefined
          this.#learned(learnt)
        },
        error: error => this.#failed(error),
      }),
    )
  }

  #learned({ topicId, partitions: named }: TopicLeaders): void {
    const before = topicId === this.#topicId && topicId !== ZERO_UUID ? (this.#known ?? []) : []
    // A broker that is behind reports fewer partitions than exist. By that number, keys would go to other partitions for a time.
    const partitions = [...named, ...before.slice(named.length)]
    this.#topicId = topicId
    this.#known = partitions
    this.#knownAt = this.host.time.monotonic()
    this.#stale = false
    this.#failures = 0
    for (const outgoing of this.#waiting.drain()) this.#place(outgoing, partitions)
    this.#placeUnplaced(partitions)
    const leaderless = [...this.#leaderless]
    this.#leaderless.clear()
    for (const writer of leaderless) this.host.wake(writer)
  }

  #drainUnplaced(): Map<Outgoing, number> {
    const unplaced = new Map(this.#unplaced)
    this.#unplaced.clear()
    return unplaced
  }

  #placeUnplaced(known: readonly PartitionLeader[]): void {
    const now = this.host.time.monotonic()
    const missing: Outgoing[] = []
    for (const [outgoing, since] of [...this.#unplaced]) {
      const exists = this.#exists(outgoing.partition!, known)
      if (!exists && now - since < patience) continue
      this.#unplaced.delete(outgoing)
      if (exists) this.#writer(outgoing.partition!).push(outgoing)
      else missing.push(outgoing)
    }
    // Only now, when the others are placed: who is refused may write another record, which goes behind them.
    for (const outgoing of missing) this.#refuseMissing(outgoing, known)
    if (this.#unplaced.size > 0) this.#askIn(askAgain)
  }

  #failed(error: unknown): void {
    const { why, permanent } = reasonOf(error)
    if (permanent) {
      this.#asking = undefined
      return this.#refuseAll(why, error)
    }
    this.report(why, error)
    this.#askIn(backoff(this.#failures++))
  }

  #askIn(ms: number): void {
    const asking = new Subscription()
    this.#asking?.unsubscribe()
    this.#asking = asking
    asking.add(
      this.host.time.scheduler.schedule(() => {
        this.#asking = undefined
        if (this.#waiting.size > 0 || this.#unplaced.size > 0 || this.#leaderless.size > 0) this.#ask()
      }, ms),
    )
  }

  #refuseAll(why: string, cause: unknown): void {
    const result = refused(this.#error(why, false, cause))
    const leaderless = [...this.#leaderless]
    this.#leaderless.clear()
    for (const outgoing of [...this.#waiting.drain(), ...this.#drainUnplaced().keys()]) outgoing.settle(result)
    for (const writer of leaderless) writer.refuse(why, cause, false)
  }

  #error(why: string, retriable: boolean, cause: unknown): PublishError {
    return new PublishError(`a record could not be written to topic '${this.topic}': ${why}`, {
      cause,
      retriable,
      topic: this.topic,
    })
  }
}
