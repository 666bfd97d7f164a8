import { setTimeout as sleep } from 'node:timers/promises'
import { filter, firstValueFrom } from 'rxjs'
import { type Client, createClient, handle } from 'rxmika'
import { quiet } from '../clients.js'
import { bytes100, type Measurement, type Row, type Task, type Work } from '../row.js'
import { atMost } from '../target.js'

/** What the work on a record takes, ms: every partition is busy all the time. */
const work = 1
/** How long all is left alone before a member joins, and before and after it leaves, ms. */
const rest = 2_000

/** When records of each partition were handled, and when a partition was given up. */
class Handled {
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

  /** The longest time since the last call in which nothing of a partition was handled that was kept, ms. */
  take(): number {
    const kept = [...this.#longest].filter(([partition]) => !this.#moved.has(partition))
    // One in whose midst this is counts from its beginning.
    for (const [partition] of kept) this.see(partition)
    const longest = Math.max(...kept.map(([partition]) => this.#longest.get(partition)!))
    this.#longest.clear()
    return longest
  }
}

/** A member that stays handles records; another joins and leaves. */
async function measure(handled: Handled, join: () => Promise<() => Promise<unknown>>): Promise<Measurement> {
  await sleep(rest)
  handled.take()
  await sleep(rest)
  const before = handled.take()
  const leave = await join()
  await sleep(rest)
  await leave()
  await sleep(rest)
  return { 'longest pause, ms': handled.take(), 'without a rebalance, ms': before }
}

function rxmika(groupProtocol: 'classic' | 'consumer'): Work {
  return async (task: Task) => {
    const handled = new Handled()
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
    const has = (client: Client) => firstValueFrom(client.events.pipe(filter(({ type }) => type === 'assigned')))
    const stays = member(partition => handled.see(partition))
    stays.events.subscribe(event => event.type === 'revoked' && handled.moved(event.partition))
    await has(stays)
    const measurement = await measure(handled, async () => {
      const guest = member(() => {})
      await has(guest)
      return async () => {
        const back = has(stays)
        await guest.closeGracefully()
        await back
      }
    })
    await stays.close()
    return measurement
  }
}

const kafkajs: Work = async ({ brokers, topic, group }) => {
  const handled = new Handled()
  const member = async (see: (partition: number) => void) => {
    const consumer = quiet(brokers).consumer({ groupId: group })
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
  const stays = await member(partition => handled.see(partition))
  stays.on(stays.events.GROUP_JOIN, ({ payload }) => {
    const has = payload.memberAssignment[topic] ?? []
    for (const partition of handled.partitions) if (!has.includes(partition)) handled.moved(partition)
  })
  const measurement = await measure(handled, async () => {
    const guest = await member(() => {})
    return async () => {
      const back = new Promise<void>(resolve => stays.on(stays.events.GROUP_JOIN, () => resolve()))
      await guest.disconnect()
      await back
    }
  })
  await stays.disconnect()
  return measurement
}

const base = 'rxmika, classic'

export const rebalance: Row = {
  title: 'a member joins and leaves: the longest pause of a partition that the other kept',
  records: 100_000,
  filled: bytes100,
  figure: 'longest pause, ms',
  base,
  contenders: { [base]: rxmika('classic'), 'rxmika, consumer': rxmika('consumer'), kafkajs },
  targets: { 'rxmika, consumer': [atMost(50)] },
}
