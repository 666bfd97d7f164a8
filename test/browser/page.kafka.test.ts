import { randomUUID } from 'node:crypto'
import { firstValueFrom, lastValueFrom } from 'rxjs'
import { filter } from 'rxjs/operators'
import { createClient, fixed, handle } from 'rxmika'
import { inspect } from 'rxmika/inspector'
import { expect, it } from 'vitest'
import { createTopic } from '../kafka/create-topic'
import { describeKafka, kafkaBrokers } from '../kafka/describe-kafka'
import { orNotRun } from '../kafka/or-not-run'
import { faultsOf, findChromium, launch } from './chromium'

const path = await orNotRun(async () => findChromium(), 'The page of the inspector is not tested in a browser:')

describeKafka('the page of the inspector, of a client on Kafka', () => {
  it.skipIf(path === undefined)('shows dead letters, a waiting retry and a rebalance', async () => {
    const id = randomUUID().slice(0, 8)
    const topics = { orders: `orders-${id}`, retry: `retry-${id}`, dlq: `dlq-${id}` }
    for (const topic of Object.values(topics)) {
      await createTopic({ brokers: kafkaBrokers }, { topic, numPartitions: 2 })
    }
    const names = { group: `billing-${id}`, retryTopic: topics.retry, dlqTopic: topics.dlq }
    const member = () => {
      const client = createClient({ brokers: kafkaBrokers, ...names, clientId: 'billing', logger: false })
      client
        .topic(topics.orders, { retries: 1, backoff: fixed(60_000), dlq: true })
        .pipe(
          handle(record => {
            const text = String(record.value)
            if (text === 'bad') return void record.fail(new RangeError('card declined'), { retry: false })
            if (text === 'later') throw new Error('not now')
          }),
        )
        .subscribe()
      client.start()
      return client
    }
    const client = member()
    const browser = await launch(path!)
    const others: ReturnType<typeof member>[] = []
    try {
      const { url } = await inspect(client)
      const page = await browser.newPage()
      const faults = faultsOf(page, url)
      await page.goto(url)
      await firstValueFrom(client.state.pipe(filter(state => state === 'running')))
      // Counts begin when the page connects and are those of the last 10 s, so the test waits for all of them together.
      const lane = (what: string) => page.getByRole('img', { name: new RegExp(`${topics.orders}-0, .*${what}`) })
      await lane('0 delivered').waitFor()
      const counted = lane('3 delivered, 1 acked, 2 failed').waitFor()
      const records = ['good', 'bad', 'later'].map(value => ({ topic: topics.orders, partition: 0, value }))
      await Promise.all([counted, lastValueFrom(client.publish(records))])
      await page.getByRole('region', { name: 'Dead letters' }).getByText('RangeError: card declined').waitFor()
      await page.getByRole('region', { name: 'Retries waiting' }).getByText(`${topics.orders}-0@2`).waitFor()
      await lane('committed 3').waitFor()
      others.push(member())
      const rebalances = page.getByRole('region', { name: 'Rebalances' })
      await rebalances
        .getByText(/revoked \(|retained \(/)
        .first()
        .waitFor()
      expect(faults).toEqual([])
    } finally {
      await browser.close()
      await Promise.all([client, ...others].map(each => each.close()))
    }
  })
})
