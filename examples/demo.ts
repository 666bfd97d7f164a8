/**
 * Handles orders on three partitions. One fails twice and then succeeds. One goes to the DLQ topic and is replayed from there.
 *
 * Runs on a memory broker in this process, or on the Kafka that KAFKA_BROKERS names.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { concatMap, delay, filter, firstValueFrom, from, lastValueFrom, Subject, tap } from 'rxjs'
import { type ConsumeRecord, createClient, fixed, handle, json } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { type Order, Story } from './demo/story'

const onKafka = process.env.KAFKA_BROKERS !== undefined
/** Makes the topics and the group of this run unique. */
const suffix = process.env.KAFKA_GLOBAL_SUFFIX ?? `-demo-${randomUUID().slice(0, 8)}`
const broker = memoryBroker({ partitions: { [`orders${suffix}`]: 3 }, latency: 5 })

const client = createClient({
  driver: onKafka ? undefined : broker.driver(),
  suffix,
  group: 'billing',
  retryTopic: 'orders-retry',
  dlqTopic: 'orders-dlq',
  logger: false,
})
const story = new Story(client)

// ── The service ────────────────────────────────────────────────────────────────────────────────────────────────────

const customers = new Set(['Ada', 'Bob', 'Cleo', 'Dan', 'Eve', 'Gil', 'Hal', 'Ida', 'Jo'])
/** How long an order takes, ms. The first one is slow, so that later ones on its partition are acked before it. */
const duration = (name: string) => (name === 'a' ? 700 : name === 'j' ? 300 : 130)
const begun = new Subject<string>()

async function charge({ value, attempt }: ConsumeRecord<Order | null>): Promise<void> {
  const { name, customer } = value!
  begun.next(name)
  await sleep(duration(name))
  if (name === 'e' && attempt < 3) throw new Error('the card terminal is offline')
  if (!customers.has(customer)) throw new Error(`there is no customer ${customer}`)
}

client
  .topic('orders', { retries: 2, backoff: fixed(250), dlq: true, decode: json<Order>() })
  .pipe(
    tap(record => story.delivered(record)),
    handle(charge, { order: 'key', concurrency: 64 }),
    tap(outcome => story.settled(outcome)),
  )
  .subscribe()

// ── What happens to it ─────────────────────────────────────────────────────────────────────────────────────────────

const order = (name: string, customer: string, partition: number) => ({
  topic: 'orders',
  partition,
  key: customer,
  value: JSON.stringify({ name, customer } satisfies Order),
})

story.title(onKafka ? `rxmika on the Kafka at ${process.env.KAFKA_BROKERS}` : 'rxmika on a Kafka in this process')
const timeout = setTimeout(() => {
  story.fail('the demo did not end within 20 s; is Kafka reachable?')
  process.exit()
}, 20_000)

client.start().subscribe(error => story.fail(error))
await firstValueFrom(client.state.pipe(filter(state => state === 'running')))
story.tell('running', `${story.partitions} partitions of orders are assigned, and the retry and the DLQ topic`)

const deadLettered = firstValueFrom(client.events.pipe(filter(({ type }) => type === 'dead-lettered')))
const orders = ['Ada', 'Bob', 'Cleo', 'Dan', 'Eve', 'Fox', 'Gil', 'Hal', 'Ida'].map((customer, at) =>
  order('abcdefghi'[at]!, customer, at % story.partitions),
)
story.tell('published', '9 orders, a to i, one after the other')
await lastValueFrom(from(orders).pipe(concatMap(one => client.publish(one).pipe(delay(40)))))
await deadLettered

await sleep(200)
customers.add('Fox')
story.tell('replaying', 'customer Fox is registered now, so the DLQ topic is read')
await lastValueFrom(client.replayDlq())

const begins = firstValueFrom(begun.pipe(filter(name => name === 'j')))
story.tell('published', 'one more, j')
await lastValueFrom(client.publish(order('j', 'Jo', story.partitions - 1)))
await begins
story.tell('closing', 'gracefully, while j is in flight')
const { drained, unsettled } = await client.closeGracefully({ timeout: 5_000 })
if (!drained) story.fail(`${unsettled} records are not settled`)
story.tell('closed', `drained: ${drained}, unsettled: ${unsettled}; everything is committed`)

story.draw()
if (onKafka)
  console.log(` These topics remain on the broker: orders, orders-retry and orders-dlq, with the suffix ${suffix}\n`)
clearTimeout(timeout)
