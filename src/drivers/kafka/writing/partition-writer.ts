import type { Subscription } from 'rxjs'
import { type EncodableRecord, encodable, notEncodable } from '../../../encodable-record.js'
import { PublishError } from '../../../errors.js'
import { Fifo } from '../../../fifo.js'
import type { Outgoing } from '../../../outgoing.js'
import { partitionName } from '../../../place.js'
import { refused, written } from '../../../produce-result.js'
import { type KafkaError, kafkaError } from '../../../protocol/errors.js'
import { RecordBatchBuilder } from '../../../protocol/records/record-batch-builder.js'
import { backoff, lastingFailures } from './backoff.js'
import { Batch } from './batch.js'
import { noProducerId, type ProduceAnswer, type ProducerId } from './leaders.js'
import type { WritingTime } from './writing-time.js'

/** The limits of one batch. By default brokers accept batches of up to 1 MiB (`max.message.bytes`). */
const maxBatchRecords = 4_000
const maxBatchBytes = 900 * 1024
/** Brokers answer requests beyond 100 MiB (`socket.request.max.bytes`) by closing the connection, however often they are sent. */
const maxRecordBytes = 100 * 1024 * 1024 - 64 * 1024
const maxEpoch = 32_767
/** How long a batch that was given up may still arrive, ms: three times the time-out of an answer. */
const maxDoubt = 60_000
/** After the largest int32, sequence numbers start again at 0. */
const sequences = 2 ** 31

interface Made {
  readonly outgoing: Outgoing
  readonly record: EncodableRecord
  readonly compression: 'gzip' | undefined
}

export interface PartitionWriterHost {
  readonly time: WritingTime
  /** The writer may have something to send. It is checked in another turn. */
  wake(writer: PartitionWriter): void
  /** The known leaders of the topic may be stale. */
  leadersChanged(): void
  /** No writer starts with this producer id any more. */
  retire(producerId: bigint): void
}

/**
 * The records of one partition in the order they came, with one batch in flight at a time.
 *
 * The batch stays in front until it is acknowledged, refused for good, or not wanted any more. Later records wait behind it.
 * Its repetitions have the same producer id, epoch and sequence number, by which the leader recognizes what it already has.
 *
 * A leader compares these numbers only, never contents. So if a batch is given up while an attempt may be in the log, its
 * numbers must not be used for other records. The partition continues in the next epoch, from sequence 0, which leaders accept
 * (KIP-360). From then on they refuse the older epoch, so an attempt that is still in flight can no longer be appended after
 * it. Epochs concern one partition's log: other partitions with the same producer id keep theirs.
 */
export class PartitionWriter {
  /** True: it is in the list of writers to check. */
  due = false
  readonly #queue = new Fifo<Outgoing>()
  /** The first one is in flight, or will be next. Others are the rest of a batch that was split. */
  readonly #batches: Batch[] = []
  /** Taken from the queue, but it did not fit into the last batch. */
  #next: Made | undefined
  #state: 'idle' | 'sent' | 'waiting' | 'ended' = 'idle'
  #producerId: bigint | undefined
  #epoch = 0
  #sequence = 0
  #failures = 0
  #timer: Subscription | undefined
  /** When an identity was given up that no leader is known to refuse yet, by the monotonic clock. */
  #doubtfulSince: number | undefined

  constructor(
    readonly topic: string,
    readonly partition: number,
    readonly host: PartitionWriterHost,
  ) {}

  push(outgoing: Outgoing): void {
    this.#queue.push(outgoing)
    if (this.#state === 'idle' && !this.due) this.host.wake(this)
  }

  /**
   * Whether this writer can be removed. Only its sequence is lost by that: the next writer of the partition needs a producer
   * id that this one never had.
   */
  get isForgettable(): boolean {
    if (this.#state !== 'idle' || this.due || this.#next !== undefined) return false
    if (this.#batches.length > 0 || this.#queue.size > 0) return false
    return this.#doubtfulSince === undefined || this.host.time.monotonic() - this.#doubtfulSince > maxDoubt
  }

  /** Whether there is a batch to send now. Drops unwanted records, and refuses those that cannot be encoded. */
  ready(): boolean {
    if (this.#state !== 'idle') return false
    for (;;) {
      const batch = this.#batches[0] ?? this.#cut()
      if (batch === undefined) return false
      if (!this.#leaveOut(batch)) return true
    }
  }

  /** True: this partition needs a producer id to continue. */
  get needsProducerId(): boolean {
    return this.#producerId === undefined
  }

  begin({ id, epoch }: ProducerId): void {
    this.#producerId = id
    this.#epoch = epoch
    this.#sequence = 0
  }

  /** The bytes of the batch that is `ready`. From here on it counts as sent. */
  send(): Buffer {
    this.#state = 'sent'
    return this.#batches[0]!.seal({
      producerId: this.#producerId!,
      epoch: this.#epoch,
      first: this.#producerId === noProducerId ? -1 : this.#sequence,
    })
  }

  // ── The outcome ──────────────────────────────────────────────────────────────────────────────────────────────────

  answered({ errorCode, baseOffset }: ProduceAnswer): void {
    if (this.#state !== 'sent') return
    const batch = this.#batches[0]!
    if (errorCode === 0 && baseOffset >= 0n) return this.#written(batch, baseOffset)
    const error = kafkaError(errorCode)
    if (errorCode === 0 || error.has('mayHaveBeenWritten')) batch.mayBeWritten = true
    if (error.has('refusesRecords')) {
      if (error.has('oneRecordToBlame') && batch.size > 1) return this.#split(batch)
      const advice = remedies[error.name]
      const why = advice === undefined ? String(error) : `${error}; ${advice}`
      return this.#refuse(this.#error(why, false, new Error(String(error)), error.name))
    }
    if (error.has('producerUnknown')) this.#retire(needsAnotherId(error))
    // Also if a leader does not accept the sequence: it may not be the leader any more.
    if (error.has('staleMetadata') || error.has('producerUnknown') || !error.has('retriable'))
      this.host.leadersChanged()
    const why = errorCode === 0 ? 'the broker acknowledged it without an offset' : String(error)
    this.failed(why, new Error(why))
  }

  /** No answer arrived. @param sent Whether the batch may have reached the leader. */
  unanswered(why: string, cause: unknown, sent: boolean): void {
    if (this.#state !== 'sent') return
    if (sent) this.#batches[0]!.mayBeWritten = true
    this.host.leadersChanged()
    this.failed(why, cause)
  }

  /** The batch cannot be written for now, sent or not. It is retried. */
  failed(why: string, cause: unknown): void {
    if (this.#state === 'ended' || this.#state === 'waiting') return
    this.#state = 'waiting'
    this.#timer = this.host.time.scheduler.schedule(
      () => {
        this.#state = 'idle'
        this.host.wake(this)
      },
      backoff(this.#failures++),
    )
    this.report(why, cause)
  }

  /** Reports to the waiting records why nothing is written. @param lasting See `Outgoing.delayed`. */
  report(why: string, cause: unknown, lasting = this.#failures >= lastingFailures): void {
    const error = this.#error(why, true, cause)
    for (const batch of this.#batches) {
      for (const outgoing of batch.outgoings) if (outgoing.wanted) outgoing.delayed(error, lasting)
    }
    const dropped: Outgoing[] = []
    const kept: Outgoing[] = []
    for (const outgoing of this.#queue.drain()) (outgoing.wanted ? kept : dropped).push(outgoing)
    for (const outgoing of kept) this.#queue.push(outgoing)
    // Only now, when all are back in the queue: who is told may write another record, which goes behind them.
    for (const outgoing of kept) if (outgoing.wanted) outgoing.delayed(error, lasting)
    this.#next?.outgoing.delayed(error, lasting)
    for (const outgoing of dropped) outgoing.abandoned()
  }

  /** The batch is refused for good. @param sent Whether it may have reached the leader. */
  refuse(why: string, cause: unknown, sent: boolean): void {
    if (this.#state === 'ended' || this.#batches.length === 0) return
    if (sent) this.#batches[0]!.mayBeWritten = true
    this.#refuse(this.#error(why, false, cause))
  }

  /** Nothing is written any more. */
  end(why: string): void {
    this.#state = 'ended'
    this.#timer?.unsubscribe()
    const left = this.#batches.splice(0).flatMap(({ outgoings }) => outgoings)
    if (this.#next !== undefined) left.push(this.#next.outgoing)
    this.#next = undefined
    left.push(...this.#queue.drain())
    const error = this.#error(why, true, undefined)
    for (const outgoing of left) {
      if (outgoing.wanted) outgoing.settle(refused(error))
      else outgoing.abandoned()
    }
  }

  #written({ outgoings }: Batch, baseOffset: bigint): void {
    this.#sequence = (this.#sequence + outgoings.length) % sequences
    this.#doubtfulSince = undefined
    this.#finish()
    outgoings.forEach((outgoing, at) => {
      outgoing.settle(written(this.topic, this.partition, baseOffset + BigInt(at)))
    })
  }

  #refuse(error: PublishError): void {
    const batch = this.#batches[0]!
    if (batch.mayBeWritten) this.#retire(false)
    this.#finish()
    const result = refused(error)
    for (const outgoing of batch.outgoings) outgoing.settle(result)
  }

  /** Splits a batch that may have been refused because of a single record, so that only that one fails. */
  #split(batch: Batch): void {
    if (batch.mayBeWritten) this.#retire(false)
    this.#batches.splice(0, 1, ...batch.halves())
    this.#state = 'idle'
    this.host.wake(this)
  }

  /** Removes the first batch. Called before records are settled, because their callers may publish more at once. */
  #finish(): void {
    this.#batches.shift()
    this.#failures = 0
    this.#state = 'idle'
    this.host.wake(this)
  }

  /** Drops unwanted records. @returns whether nothing is left of the batch. */
  #leaveOut(batch: Batch): boolean {
    // A batch that may be in the log is repeated or given up as a whole: with another count, the leader would not recognize it.
    if (batch.mayBeWritten && batch.outgoings.some(({ wanted }) => wanted)) return false
    if (batch.mayBeWritten) this.#retire(false)
    const dropped = batch.dropUnwanted()
    if (batch.size === 0) {
      this.#batches.shift()
      this.#failures = 0
    }
    for (const outgoing of dropped) outgoing.abandoned()
    return batch.size === 0
  }

  /**
   * Gives up the partition's present identity and sequence.
   *
   * @param wholly True: the next epoch is not enough, because brokers do not know the producer id, or know a newer epoch.
   */
  #retire(wholly: boolean): void {
    if (this.#producerId === undefined || this.#producerId === noProducerId) return
    for (const batch of this.#batches) batch.unseal()
    this.#sequence = 0
    this.#doubtfulSince = this.host.time.monotonic()
    if (!wholly && this.#epoch < maxEpoch) this.#epoch++
    else {
      this.host.retire(this.#producerId)
      this.#producerId = undefined
    }
  }

  // ── Batches ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #cut(): Batch | undefined {
    const builder = new RecordBatchBuilder()
    const outgoings: Outgoing[] = []
    let compression: 'gzip' | undefined
    while (builder.count < maxBatchRecords) {
      const next = this.#next ?? this.#make()
      if (next === undefined) break
      this.#next = undefined
      // A compressed record gets its own batch. It is compressed because it is too large otherwise.
      if (builder.count > 0 && next.compression !== undefined) {
        this.#next = next
        break
      }
      try {
        if (!builder.add(next.record, builder.count === 0 ? maxRecordBytes : maxBatchBytes)) {
          if (builder.count === 0) throw tooLarge(builder.sizeWith(next.record))
          this.#next = next
          break
        }
      } catch (cause) {
        this.#refuseUnencodable(next.outgoing, cause)
        continue
      }
      outgoings.push(next.outgoing)
      compression = next.compression
      if (compression !== undefined) break
    }
    const body = builder.build()
    if (body === undefined) return undefined
    const batch = new Batch(outgoings, body, compression)
    this.#batches.push(batch)
    return batch
  }

  /** The next record that can be made. */
  #make(): Made | undefined {
    for (;;) {
      const outgoing = this.#queue.shift()
      if (outgoing === undefined) return undefined
      if (!outgoing.wanted) {
        outgoing.abandoned()
        continue
      }
      try {
        const made = outgoing.record()
        return { outgoing, record: encodable(made, this.host.time.wall), compression: made.compression }
      } catch (cause) {
        this.#refuseUnencodable(outgoing, cause)
      }
    }
  }

  #refuseUnencodable(outgoing: Outgoing, cause: unknown): void {
    outgoing.settle(refused(notEncodable(this.topic, partitionName(this), cause)))
  }

  /** @param reason The name of Kafka's error code if the record was refused. */
  #error(why: string, retriable: boolean, cause: unknown, reason?: string): PublishError {
    return new PublishError(`a record could not be written to ${partitionName(this)}: ${why}`, {
      ...{ cause, retriable, topic: this.topic },
      ...(reason === undefined ? {} : { reason }),
    })
  }
}

/** What a user can look at if a record is refused for good. */
const remedies: Readonly<Partial<Record<string, string>>> = {
  MESSAGE_TOO_LARGE: 'the limit is max.message.bytes of the topic',
  RECORD_LIST_TOO_LARGE: 'the limit is segment.bytes of the topic',
  INVALID_TIMESTAMP: 'the limits are message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic',
  INVALID_RECORD: 'a compacted topic takes no record without a key, for example',
  TOPIC_AUTHORIZATION_FAILED: 'the right to WRITE to the topic is missing',
}

function tooLarge(size: number): RangeError {
  const error = new RangeError(`it is too large: ${size} bytes, and no broker takes more than ${maxRecordBytes}`)
  return Object.assign(error, { reason: 'MESSAGE_TOO_LARGE' })
}

function needsAnotherId({ name }: KafkaError): boolean {
  return name === 'INVALID_PRODUCER_EPOCH' || name === 'INVALID_PRODUCER_ID_MAPPING' || name === 'PRODUCER_FENCED'
}
