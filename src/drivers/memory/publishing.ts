import { Subscription } from 'rxjs'
import { notEncodable } from '../../encodable-record.js'
import { PublishError } from '../../errors.js'
import { Fifo } from '../../fifo.js'
import type { Outgoing } from '../../outgoing.js'
import { partitionOfKey } from '../../partitioner.js'
import { type ProduceResult, refused } from '../../produce-result.js'
import type { ProduceRecord } from '../../publish.js'
import type { Cluster } from './cluster.js'
import type { Log } from './log.js'
import type { MemberProcess } from './member-process.js'

/** The maximum of records in one request. */
const maxRequestRecords = 4_000
const firstRetry = 100
const longestRetry = 5_000

/** A record to write, with its callbacks. */
interface Made {
  readonly outgoing: Outgoing
  readonly record: ProduceRecord
  readonly lane: string
}

/** A record that will be retried, and the records that wait behind it. */
interface Lane {
  readonly waiting: Fifo<Made>
  /** How often its record was refused in a row before. */
  readonly refusals: number
}

/**
 * Writes one client's records. Records published in one turn go in one request. A record that is refused for now is retried,
 * and later records of its partition wait behind it.
 */
export class Publishing {
  readonly #queue = new Fifo<Outgoing>()
  /** The lanes in which records wait. */
  readonly #lanes = new Map<string, Lane>()
  readonly #refusals = new Map<string, number>()
  readonly #timers = new Subscription()
  #gathering = false
  #awaitsReturn = false
  #ended = false

  constructor(
    readonly cluster: Cluster,
    /** While it is frozen, timers and answers wait. */
    readonly process: MemberProcess,
    /** False: the process was killed, and gets no more answers. */
    readonly alive: () => boolean,
  ) {}

  write(outgoing: Outgoing): void {
    this.#queue.push(outgoing)
    this.#wake()
  }

  end(): void {
    this.#ended = true
    this.#timers.unsubscribe()
    const left = [...this.#lanes.values()].flatMap(({ waiting }) => waiting.drain()).map(({ outgoing }) => outgoing)
    this.#lanes.clear()
    for (const outgoing of [...left, ...this.#queue.drain()]) this.#close(outgoing)
  }

  #close(outgoing: Outgoing): void {
    if (!this.alive()) return
    if (!outgoing.wanted) return outgoing.abandoned()
    outgoing.settle(refused(new PublishError('the driver is closed', { retriable: true, topic: outgoing.topic })))
  }

  #wake(): void {
    if (this.#gathering || this.#awaitsReturn) return
    this.#gathering = true
    this.process.scheduler.schedule(() => {
      this.#gathering = false
      this.#send()
    })
  }

  #send(): void {
    if (this.#ended || !this.alive()) return
    if (!this.cluster.connection.online) return this.#awaitReturn()
    while (this.#queue.size > 0) {
      const request = this.#nextRequest()
      if (request.length > 0) this.#request(request)
    }
  }

  #awaitReturn(): void {
    const { connection } = this.cluster
    if (!this.#awaitsReturn) {
      this.#awaitsReturn = true
      const changes = connection.changes.subscribe(online => {
        if (!online) return
        changes.unsubscribe()
        this.#timers.remove(changes)
        this.#awaitsReturn = false
        this.process.run(() => this.#send())
      })
      this.#timers.add(changes)
    }
    this.#queue.forEach(outgoing => {
      const error = new PublishError('the broker is away', { retriable: true, topic: outgoing.topic })
      if (outgoing.wanted) outgoing.delayed(error, false)
    })
  }

  #nextRequest(): Made[] {
    const request: Made[] = []
    while (request.length < maxRequestRecords) {
      const outgoing = this.#queue.shift()
      if (outgoing === undefined) break
      if (!outgoing.wanted) {
        outgoing.abandoned()
        continue
      }
      try {
        request.push({ outgoing, record: outgoing.record(), lane: this.#laneOf(outgoing) })
      } catch (cause) {
        const { topic } = outgoing
        outgoing.settle(refused(notEncodable(topic, `topic '${topic}'`, cause)))
      }
    }
    return request
  }

  /** Once sent, the request arrives, even if no caller waits any more. It is sent again if the broker was away. */
  #request(request: readonly Made[]): void {
    this.cluster.connection.request(() => this.#arrive(request)).subscribe()
  }

  #arrive(request: readonly Made[]): void {
    if (this.#ended) {
      for (const { outgoing } of request) this.#close(outgoing)
      return
    }
    const fault = this.cluster.faults.produce()
    const together = new Map<Log, number>()
    const results: (readonly [Outgoing, ProduceResult])[] = []
    for (const made of request) {
      const lane = this.#lanes.get(made.lane)
      if (lane !== undefined) {
        // It arrived before the record in front of it was written.
        lane.waiting.push(made)
        continue
      }
      const result =
        fault === undefined ? this.cluster.append(made.record, together, this.process.wallTime()) : refused(fault)
      if (result.ok || !result.error.retriable) results.push([made.outgoing, result])
      else this.#rest(made, result.error)
    }
    this.process.run(() => {
      if (this.alive()) for (const [outgoing, result] of results) outgoing.settle(result)
    })
  }

  /** The record was refused for now: it stays in front of its lane until it is retried. */
  #rest(made: Made, error: PublishError): void {
    const lane: Lane = { waiting: new Fifo<Made>(), refusals: this.#refusals.get(made.lane) ?? 0 }
    this.#refusals.set(made.lane, lane.refusals + 1)
    this.#lanes.set(made.lane, lane)
    lane.waiting.push(made)
    const delay = Math.min(firstRetry * 2 ** lane.refusals, longestRetry)
    const timer = this.process.scheduler.schedule(() => {
      this.#timers.remove(timer)
      this.#again(made.lane, lane)
    }, delay)
    this.#timers.add(timer)
    this.process.run(() => {
      if (this.alive() && made.outgoing.wanted) made.outgoing.delayed(error, true)
    })
  }

  #again(name: string, lane: Lane): void {
    if (!this.alive()) return
    for (const made of lane.waiting.drain()) {
      if (made.outgoing.wanted) lane.waiting.push(made)
      else made.outgoing.abandoned()
    }
    this.cluster.connection
      .request(() => {
        // Up to here other records waited behind it, including those that were in flight before.
        this.#lanes.delete(name)
        this.#arrive(lane.waiting.drain())
        if (!this.#lanes.has(name)) this.#refusals.delete(name)
      })
      .subscribe()
  }

  /** The name of a record's lane, whose records keep their order: one partition, or the records of a topic without one. */
  #laneOf({ topic, partition, key }: Outgoing): string {
    const partitions = this.cluster.topics.find(topic)?.partitions
    if (this.#lanes.has(`${topic} unknown`)) return `${topic} unknown`
    if (partition !== undefined && partition !== null) return `${topic}-${partition}`
    if (key === undefined || key === null) return `${topic} in turns`
    if (partitions === undefined) return `${topic} unknown`
    return `${topic}-${partitionOfKey(typeof key === 'string' ? Buffer.from(key) : key, partitions)}`
  }
}
