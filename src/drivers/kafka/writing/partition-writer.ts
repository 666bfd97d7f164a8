import type { Subscription } from 'rxjs'
import { type EncodableRecord, encodable, notEncodable } from '../../../encodable-record.js'
import { PublishError } from '../../../errors.js'
import { Fifo } from '../../../fifo.js'
import type { Outgoing } from '../../../outgoing.js'
import { partitionName } from '../../../place.js'
import { refused, written } from '../../../produce-result.js'
import { type KafkaError, kafkaError } from '../../../protocol/errors.js'
import { RecordBatchBuilder } from '../../../protocol/records/record-batch-builder.js'
import { backoff } from './backoff.js'
import { Batch } from './batch.js'
import { noProducerId, type ProduceAnswer, type ProducerId } from './leaders.js'
import type { WritingTime } from './writing-time.js'

/** The most that is sent to a partition at once. Brokers take batches of up to 1 MiB (`max.message.bytes`). */
const maxBatchRecords = 4_000
const maxBatchBytes = 900 * 1024
/** A request beyond 100 MiB (`socket.request.max.bytes`) is answered by a broken connection, for ever. */
const maxRecordBytes = 100 * 1024 * 1024 - 64 * 1024
const maxEpoch = 32_767
/** So many in a row, a second and a half, are more than a leader that moves. */
const lastingFailures = 5
/** How long a batch that was given up may still be on its way, ms: three times as long as an answer is waited for. */
const maxDoubt = 60_000
/** Sequence numbers go on at 0 after the largest int32. */
const sequences = 2 ** 31

interface Made {
  readonly outgoing: Outgoing
  readonly record: EncodableRecord
  readonly compression: 'gzip' | undefined
}

export interface PartitionWriterHost {
  readonly time: WritingTime
  /** The writer may have something to send; looked at in another turn. */
  wake(writer: PartitionWriter): void
  /** What is known of the topic's leaders may be out of date. */
  leadersChanged(): void
  /** No writer begins with this producer id any more. */
  retire(producerId: bigint): void
}

/**
 * One partition's records in the order they came, with one batch of them under way at a time.
 *
 * The batch stands until it is acknowledged, refused for good, or wanted by nobody; whatever comes meanwhile waits behind
 * it, and its repetitions go first. They carry the same producer id, epoch and sequence number, by which the leader knows
 * what it has already.
 *
 * A leader compares these numbers alone, never contents. So where a batch is given up of which an attempt may be in the
 * log, its numbers must not be used for other records: the partition goes on in the next epoch, from sequence 0, which
 * leaders accept (KIP-360). They refuse the older epoch from then on, so what of it is still under way can no longer be
 * appended behind. Epochs are a matter of one partition's log; others that have the same producer id go on in theirs.
 */
export class PartitionWriter {
  /** In a list of those to be looked at. */
  due = false
  readonly #queue = new Fifo<Outgoing>()
  /** The first is under way, or will be next; others are the rest of one that was split. */
  readonly #batches: Batch[] = []
  /** Taken from the queue, and did not fit. */
  #next: Made | undefined
  #state: 'idle' | 'sent' | 'waiting' | 'ended' = 'idle'
  #producerId: bigint | undefined
  #epoch = 0
  #sequence = 0
  #failures = 0
  #timer: Subscription | undefined
  /** When an identity was given up which no leader is known to refuse yet; by the monotonic clock. */
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
   * Nothing is lost by forgetting this writer, but its sequence: whoever writes to the partition next needs a producer id
   * that this one never had.
   */
  get isForgettable(): boolean {
    if (this.#state !== 'idle' || this.due || this.#next !== undefined) return false
    if (this.#batches.length > 0 || this.#queue.size > 0) return false
    return this.#doubtfulSince === undefined || this.host.time.monotonic() - this.#doubtfulSince > maxDoubt
  }

  /** Whether there is a batch to be sent now. Leaves out what nobody wants, and refuses what cannot be encoded. */
  ready(): boolean {
    if (this.#state !== 'idle') return false
    for (;;) {
      const batch = this.#batches[0] ?? this.#cut()
      if (batch === undefined) return false
      if (!this.#leaveOut(batch)) return true
    }
  }

  /** True: this partition needs to be given a producer id before it can go on. */
  get needsProducerId(): boolean {
    return this.#producerId === undefined
  }

  begin({ id, epoch }: ProducerId): void {
    this.#producerId = id
    this.#epoch = epoch
    this.#sequence = 0
  }

  /** The bytes of the batch that is `ready`, which counts as sent from here on. */
  send(): Buffer {
    this.#state = 'sent'
    return this.#batches[0]!.seal({
      producerId: this.#producerId!,
      epoch: this.#epoch,
      first: this.#producerId === noProducerId ? -1 : this.#sequence,
    })
  }

  // ── What became of it ────────────────────────────────────────────────────────────────────────────────────────────

  answered({ errorCode, baseOffset }: ProduceAnswer): void {
    if (this.#state !== 'sent') return
    const batch = this.#batches[0]!
    if (errorCode === 0 && baseOffset >= 0n) return this.#written(batch, baseOffset)
    const error = kafkaError(errorCode)
    if (errorCode === 0 || error.has('mayHaveBeenWritten')) batch.mayBeWritten = true
    if (error.has('refusesRecords')) {
      if (error.has('oneRecordToBlame') && batch.size > 1) return this.#split(batch)
      return this.#refuse(this.#error(String(error), false, new Error(String(error)), error.name))
    }
    if (error.has('producerUnknown')) this.#retire(needsAnotherId(error))
    // Also where a leader does not go on with our sequence: it may be none any more.
    if (error.has('staleMetadata') || error.has('producerUnknown') || !error.has('retriable'))
      this.host.leadersChanged()
    const why = errorCode === 0 ? 'the broker acknowledged it without an offset' : String(error)
    this.failed(why, new Error(why))
  }

  /** No answer came. @param sent Whether the batch may have reached the leader. */
  unanswered(why: string, cause: unknown, sent: boolean): void {
    if (this.#state !== 'sent') return
    if (sent) this.#batches[0]!.mayBeWritten = true
    this.host.leadersChanged()
    this.failed(why, cause)
  }

  /** The batch cannot be written for now, sent or not: it is tried again. */
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

  /** Tells those who wait why nothing is written. */
  report(why: string, cause: unknown): void {
    const lasting = this.#failures >= lastingFailures
    const error = this.#error(why, true, cause)
    for (const batch of this.#batches) {
      for (const outgoing of batch.outgoings) if (outgoing.wanted) outgoing.delayed(error, lasting)
    }
    const dropped: Outgoing[] = []
    for (const outgoing of this.#queue.drain()) {
      if (!outgoing.wanted) dropped.push(outgoing)
      else {
        this.#queue.push(outgoing)
        outgoing.delayed(error, lasting)
      }
    }
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

  /** A batch may be refused for one of its records: only that one shall fail. */
  #split(batch: Batch): void {
    if (batch.mayBeWritten) this.#retire(false)
    this.#batches.splice(0, 1, ...batch.halves())
    this.#state = 'idle'
    this.host.wake(this)
  }

  /** Done with the first batch. Before anybody is told, who may have more at once. */
  #finish(): void {
    this.#batches.shift()
    this.#failures = 0
    this.#state = 'idle'
    this.host.wake(this)
  }

  /** @returns whether nothing is left of the batch. */
  #leaveOut(batch: Batch): boolean {
    // One that may be in the log is repeated whole, or given up whole: with another count it would not be known again.
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
   * The identity and sequence that this partition has are not used again.
   *
   * @param wholly The next epoch will not do: brokers do not know the producer id any more, or know a newer epoch.
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
      // What is compressed has a batch of its own: it is what is too large otherwise.
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

  /** @param reason Why it was refused, as Kafka names it. */
  #error(why: string, retriable: boolean, cause: unknown, reason?: string): PublishError {
    return new PublishError(`a record could not be written to ${partitionName(this)}: ${why}`, {
      ...{ cause, retriable, topic: this.topic },
      ...(reason === undefined ? {} : { reason }),
    })
  }
}

function tooLarge(size: number): RangeError {
  const error = new RangeError(`it is too large: ${size} bytes, and no broker takes more than ${maxRecordBytes}`)
  return Object.assign(error, { reason: 'MESSAGE_TOO_LARGE' })
}

function needsAnotherId({ name }: KafkaError): boolean {
  return name === 'INVALID_PRODUCER_EPOCH' || name === 'INVALID_PRODUCER_ID_MAPPING' || name === 'PRODUCER_FENCED'
}
