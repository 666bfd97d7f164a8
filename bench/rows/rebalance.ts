import { setTimeout as sleep } from 'node:timers/promises'
import { filter, firstValueFrom } from 'rxjs'
import { type Client, createClient, handle } from 'rxmika'
import { quietKafka } from '../clients.js'
import { bytes100, type Measurement, type Row, type Task, type Work } from '../row.js'
import { atMost } from '../target.js'

/** How long a handler takes, ms. The backlog is larger than what is handled, so every partition is always busy. */
const work = 1
/** How long the members stay unchanged before each join and leave, and after the last one, ms. */
const steadyTime = 2_000

/** Measures, for each partition, the longest time between two handled records. */
class Pauses {
  readonly #last = new Map<number, number>()
  readonly #longest = new Map<number, number>()
  readonly #moved = new Set<number>()

  see(partition: number): void {
    const now = performance.now()
    const last = this.#last.get(partition) ?? now
    this.#last.set(partition, now)
    this.#longest.set(partition, Math.max(this.#longest.get(partition) ?? 0, now - last))
  }

  get partitions(): Iterable<number> {
    return this.#last.keys()
  }

  moved(partition: number): void {
    this.#moved.add(partition)
  }

  /** The longest pause since the last call, ms, of the partitions that have not moved to another member. */
  take(): number {
    const kept = [...this.#longest].filter(([partition]) => !this.#moved.has(partition))
    // A pause that has not ended yet counts too.
    for (const [partition] of kept) this.see(partition)
    const longest = Math.max(...kept.map(([partition]) => this.#longest.get(partition)!))
    this.#longest.clear()
    return longest
  }
}

/** Measures the pauses of a member while a second one joins and leaves. `join` resolves with the function that leaves. */
async function measure(pauses: Pauses, join: () => Promise<() => Promise<unknown>>): Promise<Measurement> {
  await sleep(steadyTime)
  pauses.take()
  await sleep(steadyTime)
  const before = pauses.take()
  const leave = await join()
  await sleep(steadyTime)
  await leave()
  await sleep(steadyTime)
  return { 'longest pause, ms': pauses.take(), 'without a rebalance, ms': before }
}

function rxmika(groupProtocol: 'classic' | 'consumer'): Work {
  return async (task: Task) => {
    const pauses = new Pauses()
    const member = (see: (partition: number) => void) => {
      const { brokers, group, topic } = task
      const client = createClient({ brokers, group, groupProtocol, logger: false })
      client
        .topic(topic)
        .pipe(
          handle(async record => {
            see(record.partition)
            await sleep(work)
          }),
        )
        .subscribe()
      client.start()
      return client
    }
    const assigned = (client: Client) => firstValueFrom(client.events.pipe(filter(({ type }) => type === 'assigned')))
    const first = member(partition => pauses.see(partition))
    first.events.subscribe(event => event.type === 'revoked' && pauses.moved(event.partition))
    await assigned(first)
    const measurement = await measure(pauses, async () => {
      const second = member(() => {})
      await assigned(second)
      return async () => {
        const back = assigned(first)
        await second.closeGracefully()
        await back
      }
    })
    await first.close()
    return measurement
  }
}

const kafkajs: Work = async ({ brokers, topic, group }) => {
  const pauses = new Pauses()
  const member = async (see: (partition: number) => void) => {
    const consumer = quietKafka(brokers).consumer({ groupId: group })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    const assigned = new Promise<void>(resolve => consumer.on(consumer.events.GROUP_JOIN, () => resolve()))
    await consumer.run({
      partitionsConsumedConcurrently: 4,
      eachMessage: async ({ partition }) => {
        see(partition)
        await sleep(work)
      },
    })
    await assigned
    return consumer
  }
  const first = await member(partition => pauses.see(partition))
  first.on(first.events.GROUP_JOIN, ({ payload }) => {
    const assigned = payload.memberAssignment[topic] ?? []
    for (const partition of pauses.partitions) if (!assigned.includes(partition)) pauses.moved(partition)
  })
  const measurement = await measure(pauses, async () => {
    const second = await member(() => {})
    return async () => {
      const back = new Promise<void>(resolve => first.on(first.events.GROUP_JOIN, () => resolve()))
      await second.disconnect()
      await back
    }
  })
  await first.disconnect()
  return measurement
}

const base = 'rxmika, classic'

export const rebalance: Row = {
  title: 'a second member joins and leaves: the longest pause of a partition that the first one keeps',
  records: 100_000,
  filled: bytes100,
  figure: 'longest pause, ms',
  base,
  contenders: { [base]: rxmika('classic'), 'rxmika, consumer': rxmika('consumer'), kafkajs },
  targets: { 'rxmika, consumer': [atMost(50)] },
}
