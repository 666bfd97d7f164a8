import { pino } from 'pino'
import { lastValueFrom, type Subscription } from 'rxjs'
import type { ConsumeRequest, DriverEvent, PartitionAssignment } from '../../src/driver'
import { KafkaDriver } from '../../src/drivers/kafka/driver'
import type { RxMikaError } from '../../src/errors'
import { FakeKafka } from './fake-kafka'

/** A vitest context, or a `Scope`. */
interface Ending {
  onTestFinished(end: () => unknown): void
}

/** Starts brokers, which are stopped at the end of the test. */
export async function brokers({ onTestFinished }: Ending, nodes = 1): Promise<FakeKafka> {
  const kafka = await FakeKafka.start(nodes)
  onTestFinished(() => kafka.stop())
  return kafka
}

/** A driver that reads its assigned partitions from fake brokers, and everything that it has emitted. */
export class Reading {
  readonly events: DriverEvent[] = []
  /** As `topic-partition@offset value`. */
  readonly records: string[] = []
  readonly troubles: RxMikaError[] = []
  /** What the driver logged, from `info` on. */
  readonly log: string[] = []
  /** The error that ended it. */
  error: unknown
  readonly driver: KafkaDriver
  /** The assigned partitions, by name. */
  readonly assigned = new Map<string, PartitionAssignment>()
  onRevoking: (event: Extract<DriverEvent, { type: 'revoking' }>) => void = () => {}
  onBatch: () => void = () => {}
  readonly #waiting = new Set<() => void>()
  #subscription: Subscription | undefined

  constructor(brokers: readonly string[]) {
    this.driver = new KafkaDriver({ brokers })
    this.driver.trouble.subscribe(error => this.#trouble(error))
  }

  static async start(
    { onTestFinished }: Ending,
    kafka: FakeKafka,
    topics: readonly string[],
    request: Partial<ConsumeRequest> = {},
  ): Promise<Reading> {
    const reading = new Reading(kafka.addresses)
    onTestFinished(async () => {
      await lastValueFrom(reading.driver.close(), { defaultValue: undefined })
      reading.#subscription?.unsubscribe()
    })
    const logger = pino({}, { write: (line: string) => void reading.log.push(JSON.parse(line).msg) })
    await lastValueFrom(reading.driver.connect({ clientId: 'reading', logger }), { defaultValue: undefined })
    reading.#consume({
      group: 'billing',
      topics,
      startFrom: 'earliest',
      rebalanceTimeout: 1_000,
      sessionTimeout: 6_000,
      heartbeatInterval: 50,
      ...request,
    })
    return reading
  }

  #consume(request: ConsumeRequest): void {
    this.#subscription = this.driver.consume(request).subscribe({
      next: event => this.#told(event),
      error: error => {
        this.error = error
        this.#changed()
      },
    })
  }

  #told(event: DriverEvent): void {
    this.events.push(event)
    if (event.type === 'assigned') {
      for (const each of event.added) this.assigned.set(`${each.topic}-${each.partition}`, each)
      this.driver.resume(event.added)
    } else if (event.type === 'revoked' || event.type === 'lost') {
      for (const each of event.assignments) this.assigned.delete(`${each.topic}-${each.partition}`)
    } else if (event.type === 'revoking') this.onRevoking(event)
    else if (event.type === 'trouble' || event.type === 'unreadable') this.#trouble(event.error)
    else if (event.type === 'batch') {
      const { topic, partition } = event.assignment
      for (let at = event.from; at < event.batch.count; at++) {
        this.records.push(`${topic}-${partition}@${event.batch.offset(at)} ${event.batch.value(at)}`)
      }
      this.onBatch()
    }
    this.#changed()
  }

  #trouble(error: RxMikaError): void {
    this.troubles.push(error)
    this.#changed()
  }

  #changed(): void {
    for (const look of [...this.#waiting]) look()
  }

  /** Resolves when an emission makes the condition true. The test's own time-out limits it. */
  until(isSo: () => boolean): Promise<void> {
    return new Promise(resolve => {
      const look = () => {
        if (!isSo()) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      look()
    })
  }

  /** The topics of each `awaited` event. */
  get awaited(): string[][] {
    return this.events.flatMap(event => (event.type === 'awaited' ? [[...event.topics]] : []))
  }

  /** The types of its events, without batches. */
  get story(): string[] {
    return this.events.filter(({ type }) => type !== 'batch').map(({ type }) => type)
  }

  has(...values: string[]): boolean {
    return values.every(value => this.records.some(record => record.endsWith(` ${value}`)))
  }

  commit(name: string, offset: number): Promise<unknown> {
    return this.commitAll([name], offset)
  }

  commitOf(assignment: PartitionAssignment, offset: number): Promise<unknown> {
    return this.#commit([assignment], offset)
  }

  /** Commits in one request. */
  commitAll(names: readonly string[], offset: number): Promise<unknown> {
    return this.#commit(
      names.map(name => this.assigned.get(name)!),
      offset,
    )
  }

  #commit(assignments: readonly PartitionAssignment[], offset: number): Promise<unknown> {
    const points = assignments.map(assignment => {
      const { topic, partition } = assignment
      return { topic, partition, offset: BigInt(offset), metadata: '', assignment }
    })
    return lastValueFrom(this.driver.commit(points), { defaultValue: undefined })
  }
}
