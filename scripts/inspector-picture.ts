// Makes docs/inspector.webp: the inspector's page of a billing service on the memory broker. `npm run inspector:picture` needs a
// Chromium, like the tests of the page. `--partitions 100 --rate 5000 --light --out FILE` makes other pictures.
import { writeFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createClient, exponential, handle } from 'rxmika'
import { inspect } from 'rxmika/inspector'
import { memoryBroker } from 'rxmika/testing'
import { findChromium, launch } from '../test/browser/chromium'

const { values } = parseArgs({
  options: {
    partitions: { type: 'string', default: '6' },
    rate: { type: 'string', default: '16' },
    light: { type: 'boolean', default: false },
    out: { type: 'string', default: 'docs/inspector.webp' },
  },
})
const [partitions, rate] = [Number(values.partitions), Number(values.rate)]

const broker = memoryBroker({ partitions })
broker.createTopic('billing-retry', 3)
broker.createTopic('billing-dlq', 1)
const client = createClient({
  ...{ driver: broker.driver(), clientId: 'billing-1', group: 'billing', logger: false },
  ...{ retryTopic: 'billing-retry', dlqTopic: 'billing-dlq' },
})
let count = 0
client
  .topic('orders', { retries: 2, backoff: exponential({ initial: 3_000, max: 60_000 }), dlq: true })
  .pipe(
    handle(
      async ({ value, attempt }) => {
        const order = Number(value)
        // The record that hangs is the subject of the picture.
        if (order === 5 * rate) return new Promise<void>(() => {})
        await pause(80 + ((order * 7_919) % 13) * 45)
        if (order % 31 === 4 || (order % 23 === 0 && attempt < 3))
          throw new RangeError(`card of order ${order} declined`)
      },
      { order: 'key', concurrency: 10_000 },
    ),
  )
  .subscribe()
client.start()
const { url } = await inspect(client)

const browser = await launch(findChromium())
const page = await browser.newPage({
  viewport: { width: 1366, height: 620 },
  colorScheme: values.light ? 'light' : 'dark',
})
await page.goto(url)
const publishing = setInterval(() => {
  const each = rate / 10
  const now = Math.floor(each) + (Math.random() < each % 1 ? 1 : 0)
  broker.publish(
    'orders',
    Array.from({ length: now }, () => {
      const value = String(count++)
      return { key: `customer ${count % (40 * partitions)}`, value }
    }),
  )
}, 100)
await pause(16_000)
const png = await page.screenshot()
clearInterval(publishing)
// The browser converts the picture to the smaller format.
const webp = await page.evaluate<string>(`(async () => {
  const image = new Image()
  image.src = 'data:image/png;base64,${png.toString('base64')}'
  await image.decode()
  const canvas = document.createElement('canvas')
  canvas.width = image.width
  canvas.height = image.height
  canvas.getContext('2d').drawImage(image, 0, 0)
  return canvas.toDataURL('image/webp', 0.82).split(',')[1]
})()`)
await writeFile(values.out, values.out.endsWith('.png') ? png : Buffer.from(webp, 'base64'))
await browser.close()
await client.close()
