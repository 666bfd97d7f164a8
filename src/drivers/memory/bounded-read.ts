import { type Subscriber, Subscription } from 'rxjs'
import type { ReadEvent, ReadRequest } from '../../driver.js'
import { ConfigurationError, FetchError } from '../../errors.js'
import { partitionName, placeName } from '../../place.js'
import type { RecordBatch } from '../../record-batch.js'
import type { Cluster } from './cluster.js'
import type { Log } from './log.js'
import type { MemberProcess } from './member-process.js'
import type { Topic } from './topic.js'

/** A partition that is being read up to an offset. */
interface Stretch {
  readonly log: Log
  next: number
  readonly end: number
  fetching: boolean
}

/** One subscription to a driver's `read`. Like a consumer's fetches, its fetches wait for records and not for time. */
export class BoundedRead {
  readonly #stretches = new Set<Stretch>()
  readonly #held = new Subscription()
  #paused = false

  constructor(
    readonly cluster: Cluster,
    readonly process: MemberProcess,
    readonly request: ReadRequest,
    readonly subscriber: Subscriber<ReadEvent>,
  ) {
    subscriber.add(this.#held)
    const { connection } = cluster
    this.#held.add(request.paused?.subscribe(is => this.#pause(is)))
    this.#held.add(connection.changes.subscribe(() => this.#fetchAll()))
    this.#held.add(connection.reach(() => process.run(() => this.#begin())))
  }

  #begin(): void {
    if (this.subscriber.closed) return
    const { topic, partitions, from, until } = this.request
    const found = this.cluster.topics.find(topic)
    if (found === undefined) return this.subscriber.error(new ConfigurationError(`topic '${topic}' does not exist`))
    const positions = isPositions(from) ? from : undefined
    const wanted = partitions ?? [...(positions?.keys() ?? found.logs.map(log => log.partition))]
    const missing = wanted.find(partition => found.logs[partition] === undefined)
    if (missing !== undefined) {
      const message = `read: partition ${partitionName({ topic, partition: missing })} does not exist (the topic has ${found.partitions} partitions)`
      return this.subscriber.error(new ConfigurationError(message))
    }
    this.#held.add(this.cluster.topics.changed.subscribe(() => this.#checkTopic(found)))
    for (const log of wanted.map(partition => found.logs[partition]!)) {
      if (positions !== undefined && !positions.has(log.partition)) continue
      const next = this.#startOf(log)
      const end =
        until === 'forever' ? Number.POSITIVE_INFINITY : until instanceof Date ? log.offsetAt(+until) : log.end
      if (next >= end) continue
      const stretch = { log, next, end, fetching: false }
      this.#stretches.add(stretch)
      this.#held.add(log.changed.subscribe(() => this.#fetchNext(stretch)))
    }
    this.#fetchAll()
    this.#completeOnceDone()
  }

  /** A read does not continue in another log of the same name. */
  #checkTopic(topic: Topic): void {
    const found = this.cluster.topics.find(topic.name)
    if (found === topic) return
    const what = found === undefined ? 'deleted' : 'deleted and made again'
    const { name } = topic
    this.subscriber.error(new FetchError(`topic '${name}' was ${what} while it was read`, { topic: name }))
  }

  #startOf(log: Log): number {
    const { from } = this.request
    if (from === 'earliest') return log.start
    if (from === 'latest') return log.end
    if (!isPositions(from)) return log.offsetAt(from.getTime())
    const position = from.get(log.partition)!
    if (position <= log.end) return Math.max(position, log.start)
    const { topic, partition, end } = log
    const offset = BigInt(position)
    const message = `the position ${placeName({ topic, partition, offset })} is beyond the end of the log; reading goes on at ${end}`
    this.subscriber.next({ type: 'trouble', error: new FetchError(message, { topic, partition, offset }) })
    return end
  }

  #pause(is: boolean): void {
    this.#paused = is
    this.#fetchAll()
  }

  #fetchAll(): void {
    for (const stretch of [...this.#stretches]) this.#fetchNext(stretch)
  }

  #fetchNext(stretch: Stretch): void {
    if (stretch.fetching || !this.#canFetch(stretch)) return
    stretch.fetching = true
    const { connection } = this.cluster
    this.#held.add(
      this.process.scheduler.schedule(() => {
        stretch.fetching = false
        if (this.#canFetch(stretch)) this.#fetch(stretch)
      }, connection.latency),
    )
  }

  #canFetch(stretch: Stretch): boolean {
    if (this.#paused || this.subscriber.closed || !this.#stretches.has(stretch)) return false
    return this.cluster.connection.online && stretch.next !== stretch.log.end
  }

  #fetch(stretch: Stretch): void {
    const { log, next, end } = stretch
    const fault = this.cluster.faults.fetch(log.topic, log.partition, next)
    if (fault !== undefined) this.subscriber.next({ type: 'trouble', error: fault })
    else if (!log.inRange(next)) this.#moveOn(stretch)
    else {
      const { batch, from } = log.read(next, this.cluster.options.maxBatchRecords, false)
      stretch.next = batch.lastOffset + 1
      const to = indexAt(batch, end)
      if (from < to) this.subscriber.next({ type: 'batch', partition: log.partition, batch, from, to })
    }
    if (stretch.next < end) return this.#fetchNext(stretch)
    this.#stretches.delete(stretch)
    this.#completeOnceDone()
  }

  /** Retention has deleted the next records. */
  #moveOn(stretch: Stretch): void {
    const { topic, partition, start } = stretch.log
    const offset = BigInt(stretch.next)
    stretch.next = start
    const message = `the position ${placeName({ topic, partition, offset })} is out of range: the records from there on were deleted by retention; reading goes on at ${start}`
    this.subscriber.next({ type: 'trouble', error: new FetchError(message, { topic, partition, offset }) })
  }

  #completeOnceDone(): void {
    const { until, partitions, from } = this.request
    if (this.#stretches.size > 0) return
    if (until !== 'forever' || partitions !== undefined || isPositions(from)) this.subscriber.complete()
  }
}

function isPositions(from: ReadRequest['from']): from is ReadonlyMap<number, number> {
  return typeof from === 'object' && 'get' in from
}

/** The index of the first record at or after `offset`. */
function indexAt(batch: RecordBatch, offset: number): number {
  let index = batch.count
  while (index > 0 && batch.offset(index - 1) >= offset) index--
  return index
}
