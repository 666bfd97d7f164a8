import { expect } from 'vitest'
import { Writing } from '../../src/drivers/kafka/writing/writing'
import type { Outgoing, ProduceResult, PublishError, PublishRecord } from '../../src/index'
import { Clock } from '../unit/clock'
import { FakeCluster } from './fake-cluster'
import { FakeLeaders } from './fake-leaders'

/** A record in flight, and the answers that it got. */
export class Sent implements Outgoing {
  wanted = true
  result: ProduceResult | undefined
  wasAbandoned = false
  /** When it was settled or abandoned, ms. */
  endedAt: number | undefined
  readonly delays: { readonly error: PublishError; readonly lasting: boolean }[] = []

  constructor(
    readonly content: PublishRecord,
    readonly clock: Clock,
  ) {}

  get topic() {
    return this.content.topic
  }
  get key() {
    return this.content.key
  }
  get partition() {
    return this.content.partition
  }
  get value() {
    return String(this.content.value)
  }
  get acknowledged() {
    return this.result?.ok === true
  }
  record() {
    return this.content
  }
  settle(result: ProduceResult) {
    this.#end()
    this.result = result
  }
  abandoned() {
    this.#end()
    this.wasAbandoned = true
  }
  delayed(error: PublishError, lasting: boolean) {
    expect(this.endedAt, `${this.value} is delayed after its end`).toBeUndefined()
    this.delays.push({ error, lasting })
  }

  #end() {
    expect(this.endedAt, `${this.value} ends twice`).toBeUndefined()
    this.endedAt = this.clock.frame
  }
}

/** Writing to a fake cluster, in virtual time. */
export class WritingWorld {
  readonly clock = new Clock()
  readonly cluster: FakeCluster
  readonly leaders: FakeLeaders
  readonly writing: Writing
  readonly sent: Sent[] = []

  constructor(
    options: {
      readonly nodes?: number
      readonly topics?: Readonly<Record<string, number>>
      /** See `Writing.minTopics`. */
      readonly minTopics?: number
    } = {},
  ) {
    const { nodes = 2, topics = { t: 2 }, minTopics } = options
    this.cluster = new FakeCluster(nodes, new Map(Object.entries(topics)))
    this.leaders = new FakeLeaders(this.cluster, this.clock)
    const time = {
      scheduler: this.clock,
      monotonic: () => this.clock.frame,
      wall: () => 1_700_000_000_000 + this.clock.frame,
      soon: (work: () => void) => void this.clock.schedule(work),
    }
    this.writing = new Writing(this.leaders, time, minTopics)
  }

  send(value: string, record: Partial<PublishRecord> = {}): Sent {
    const sent = new Sent({ topic: 't', partition: 0, value, ...record } as PublishRecord, this.clock)
    this.sent.push(sent)
    this.writing.write(sent)
    return sent
  }

  pass(ms: number): void {
    this.clock.runTo(this.clock.frame + ms)
  }

  /** Ends all faults, and runs until every record in flight has an outcome. */
  heal(): void {
    this.cluster.fate = () => ({ append: true })
    this.leaders.refusal = () => undefined
    this.leaders.believed = (topic, partition) => this.cluster.leader(topic, partition)
    this.pass(10_000)
  }

  values(partition = 0, topic = 't'): (string | null)[] {
    return this.cluster.log(topic, partition).values
  }

  /**
   * Checks that acknowledged records are in the log at the reported place, in the order of `publish`, and that every record has an
   * outcome. Each record is in the log once, unless a broker had forgotten the producer after an attempt without a clear answer.
   */
  check({ once = true }: { readonly once?: boolean } = {}): void {
    const last = new Map<string, bigint>()
    for (const { content, value, result, endedAt, wanted } of this.sent) {
      expect(endedAt, `${value} came to no end`).toBeDefined()
      if (result?.ok !== true) {
        // The publisher did not unsubscribe, so the record was refused for good.
        if (wanted) expect(result, value).toMatchObject({ error: { retriable: false } })
        continue
      }
      const { topic, partition, offset } = result
      expect(topic).toBe(content.topic)
      if (content.partition !== undefined) expect(partition).toBe(content.partition)
      const log = this.values(partition, topic)
      expect(log[Number(offset)], `${value} at ${offset} of ${log}`).toBe(value)
      if (once)
        expect(
          log.filter(stored => stored === value),
          `${value} in ${log}`,
        ).toHaveLength(1)
      const lane = `${topic}-${partition}`
      expect(offset > (last.get(lane) ?? -1n), `${value} at ${offset} of ${log}, behind ${last.get(lane)}`).toBe(true)
      last.set(lane, offset)
    }
  }
}
