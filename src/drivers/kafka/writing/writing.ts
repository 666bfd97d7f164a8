import { Subscription } from 'rxjs'
import type { Outgoing } from '../../../outgoing.js'
import { backoff, lastingFailures } from './backoff.js'
import type { Leaders, OutgoingBatch, ProduceAnswer, ProducerId } from './leaders.js'
import type { PartitionWriter } from './partition-writer.js'
import { reasonOf } from './reason.js'
import { TopicWriter } from './topic-writer.js'
import type { WritingTime } from './writing-time.js'

/** The maximum number of bytes in one request, unless a single batch is larger. Brokers accept 100 MiB by default. */
const maxRequestBytes = 16 * 1024 * 1024

/** This many topics are kept in any case, used or not. */
const defaultMinTopics = 1_000

/**
 * Writes records, idempotently. Partitions are independent. Batches that are ready in the same turn of the event loop and have
 * the same leader go in one request.
 */
export class Writing {
  readonly #topics = new Map<string, TopicWriter>()
  /** With this many topics, those that were not used lately are removed: topic names may come from outside without end. */
  #maxTopics: number
  #age = 0
  /** The topic of the latest record: consecutive records mostly have the same topic. */
  #newest: TopicWriter | undefined
  #due: PartitionWriter[] = []
  #turnToCome = false
  /** The producer id for partitions that begin. */
  #producerId: ProducerId | undefined
  #asking: Subscription | undefined
  /** The writers that wait for a producer id. */
  readonly #withoutId = new Set<PartitionWriter>()
  #failures = 0
  readonly #underWay = new Subscription()
  #ended = false

  constructor(
    readonly leaders: Leaders,
    readonly time: WritingTime,
    /** At least this many topics are kept, and at most twice as many as are in use. */
    readonly minTopics = defaultMinTopics,
  ) {
    this.#maxTopics = minTopics
  }

  write(outgoing: Outgoing): void {
    this.#topic(outgoing.topic).push(outgoing)
  }

  /** Reports to all waiting records why there is no connection. */
  unreachable(why: string, cause: unknown): void {
    for (const topic of this.#topics.values()) topic.report(why, cause)
    for (const writer of this.#withoutId) writer.report(why, cause)
  }

  end(why: string): void {
    this.#ended = true
    this.#asking?.unsubscribe()
    this.#underWay.unsubscribe()
    for (const topic of this.#topics.values()) topic.end(why)
  }

  #topic(name: string): TopicWriter {
    if (this.#newest?.topic === name) return this.#newest
    let topic = this.#topics.get(name)
    if (topic === undefined) {
      if (this.#topics.size >= this.#maxTopics) this.#forget()
      topic = new TopicWriter(name, this)
      this.#topics.set(name, topic)
    }
    topic.age = this.#age
    this.#newest = topic
    return topic
  }

  /**
   * Removes the topics that were not used since the last call. They may be written to again later, from sequence 0. So the
   * present producer id, which they may have had, is not given to new writers any more.
   */
  #forget(): void {
    for (const [name, topic] of this.#topics) {
      if (topic.age === this.#age || topic === this.#newest || !topic.isForgettable) continue
      this.#topics.delete(name)
      this.#producerId = undefined
    }
    this.#age++
    this.#maxTopics = Math.max(this.minTopics, 2 * this.#topics.size)
  }

  /** How many topics are kept. */
  get remembered(): number {
    return this.#topics.size
  }

  // ── Sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

  readonly wake = (writer: PartitionWriter): void => {
    if (writer.due || this.#ended) return
    writer.due = true
    this.#due.push(writer)
    if (this.#turnToCome) return
    this.#turnToCome = true
    this.time.soon(this.#turn)
  }

  readonly #turn = (): void => {
    this.#turnToCome = false
    const due = this.#due
    this.#due = []
    const byLeader = new Map<number, PartitionWriter[]>()
    for (const writer of due) {
      writer.due = false
      if (this.#ended || !writer.ready() || !this.#hasId(writer)) continue
      const leader = this.#topic(writer.topic).leaderOf(writer)
      if (leader === undefined) continue
      const others = byLeader.get(leader)
      if (others === undefined) byLeader.set(leader, [writer])
      else others.push(writer)
    }
    for (const [leader, writers] of byLeader) {
      // A record that was refused above may have led to the end.
      if (this.#ended) return
      this.#send(leader, writers)
    }
  }

  #send(leader: number, writers: readonly PartitionWriter[]): void {
    let batches: OutgoingBatch[] = []
    let senders: PartitionWriter[] = []
    let size = 0
    for (const writer of writers) {
      const { topic, partition } = writer
      const bytes = writer.send()
      if (batches.length > 0 && size + bytes.length > maxRequestBytes) {
        this.#request(leader, batches, senders)
        batches = []
        senders = []
        size = 0
      }
      size += bytes.length
      batches.push({ topic, partition, bytes })
      senders.push(writer)
    }
    if (batches.length > 0) this.#request(leader, batches, senders)
  }

  #request(leader: number, batches: readonly OutgoingBatch[], writers: readonly PartitionWriter[]): void {
    let answers: readonly ProduceAnswer[] = []
    const request = new Subscription()
    this.#underWay.add(request)
    request.add(
      this.leaders.produce(leader, batches).subscribe({
        next: answered => {
          answers = answered
        },
        error: error => {
          this.#underWay.remove(request)
          const { why, permanent, sent } = reasonOf(error)
          for (const writer of writers) {
            if (permanent) writer.refuse(why, error, sent)
            else writer.unanswered(why, error, sent)
          }
        },
        complete: () => {
          this.#underWay.remove(request)
          writers.forEach((writer, at) => {
            const answer = answerTo(writer, answers, at)
            if (answer === undefined) writer.unanswered('the broker did not answer for it', undefined, true)
            else writer.answered(answer)
          })
        },
      }),
    )
  }

  // ── The producer id ──────────────────────────────────────────────────────────────────────────────────────────────

  readonly retire = (producerId: bigint): void => {
    if (this.#producerId?.id === producerId) this.#producerId = undefined
  }

  #hasId(writer: PartitionWriter): boolean {
    if (!writer.needsProducerId) return true
    if (this.#producerId !== undefined) {
      writer.begin(this.#producerId)
      return true
    }
    this.#withoutId.add(writer)
    this.#askForId()
    return false
  }

  #askForId(): void {
    if (this.#asking !== undefined) return
    const asking = new Subscription()
    this.#asking = asking
    asking.add(
      this.leaders.producerId().subscribe({
        next: id => {
          this.#asking = undefined
          this.#failures = 0
          this.#producerId = id
          for (const writer of this.#takeWithoutId()) this.wake(writer)
        },
        error: error => this.#idFailed(error),
      }),
    )
  }

  #idFailed(error: unknown): void {
    const { why, permanent } = reasonOf(error)
    if (permanent) {
      this.#asking = undefined
      for (const writer of this.#takeWithoutId()) writer.refuse(why, error, false)
      return
    }
    const lasting = this.#failures >= lastingFailures
    for (const writer of this.#withoutId) writer.report(why, error, lasting)
    const asking = new Subscription()
    this.#asking = asking
    asking.add(
      this.time.scheduler.schedule(
        () => {
          this.#asking = undefined
          // They wait for an id again if their records are still wanted.
          for (const writer of this.#takeWithoutId()) this.wake(writer)
        },
        backoff(this.#failures++),
      ),
    )
  }

  #takeWithoutId(): readonly PartitionWriter[] {
    const writers = [...this.#withoutId]
    this.#withoutId.clear()
    return writers
  }
}

/** Brokers answer in the order of the request. If one does not, its answer is searched. */
function answerTo(
  { topic, partition }: PartitionWriter,
  answers: readonly ProduceAnswer[],
  at: number,
): ProduceAnswer | undefined {
  const isOf = (answer: ProduceAnswer | undefined) => answer?.partition === partition && answer.topic === topic
  return isOf(answers[at]) ? answers[at] : answers.find(isOf)
}
