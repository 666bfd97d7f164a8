import { channel } from 'node:diagnostics_channel'
import axe from 'axe-core'
import type { Browser, Locator, Page } from 'playwright-core'
import { filter, firstValueFrom, Subject } from 'rxjs'
import { type Client, createClient, fixed, handle } from 'rxmika'
import { type Inspector, inspect } from 'rxmika/inspector'
import { memoryBroker } from 'rxmika/testing'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { orNotRun } from '../kafka/or-not-run'
import { ViewerOf } from '../unit/inspector/viewer-of'
import { runPrinted } from '../unit/run-printed'
import { faultsOf, findChromium, launch } from './chromium'

const path = await orNotRun(async () => findChromium(), 'The page of the inspector is not tested in a browser:')

let browser: Browser
beforeAll(async () => {
  if (path !== undefined) browser = await launch(path)
}, 60_000)
afterAll(() => browser?.close())

interface Opened {
  readonly page: Page
  readonly client: Client
  readonly inspector: Inspector
  readonly broker: ReturnType<typeof memoryBroker>
}

/** A billing service: `bad` fails without retries, `later` is retried in a minute, `hangs` stays in flight until `release()`. */
async function open(
  options: { readonly partitions?: number; readonly colorScheme?: 'dark' | 'light' } = {},
): Promise<Opened & { release(): void }> {
  const { partitions = 2, colorScheme = 'light' } = options
  const broker = memoryBroker({ partitions })
  const client = createClient({
    ...{ driver: broker.driver(), clientId: 'billing-1', group: 'billing', retryTopic: 'retries', dlqTopic: 'dead' },
    ...{ env: {}, logger: false },
  })
  const released = new Subject<void>()
  client
    .topic('orders', { retries: 1, backoff: fixed(60_000), dlq: true })
    .pipe(
      handle(
        record => {
          const text = String(record.value)
          if (text === 'bad') return void record.fail(new RangeError('card declined'), { retry: false })
          if (text === 'later') throw new Error('not now')
          return text === 'hangs' ? firstValueFrom(released) : undefined
        },
        { order: 'none', concurrency: 100 },
      ),
    )
    .subscribe()
  client.start()
  await firstValueFrom(client.state.pipe(filter(state => state === 'running')))
  const inspector = await inspect(client)
  const context = await browser.newContext({
    ...{ viewport: { width: 1366, height: 768 }, colorScheme, permissions: ['clipboard-read', 'clipboard-write'] },
  })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  const faults = faultsOf(page, inspector.url)
  onTestFinished(async () => {
    await context.close()
    await client.close()
    expect(faults).toEqual([])
  })
  await page.goto(inspector.url)
  await page.getByText('running', { exact: true }).waitFor()
  return { page, client, inspector, broker, release: () => released.next() }
}

/** The diagram of a partition, by its text alternative. */
const picture = (within: Page | Locator, name: RegExp) => within.getByRole('img', { name })

describe.skipIf(path === undefined)('the page of the inspector', { timeout: 60_000 }, () => {
  it('shows live what is in flight, what is held back and why, retries and dead letters', async () => {
    const { page, broker, release } = await open()
    broker.publish('orders', [
      { value: 'hangs', key: 'k', partition: 0 },
      { value: 'bad', partition: 0 },
      { value: 'later', partition: 1 },
    ])
    const held = page.getByRole('region', { name: 'Held back' })
    await held.getByText('orders-0@0', { exact: true }).waitFor()
    await held.getByText('in the pipeline, neither acked nor failed').waitFor()
    const dead = page.getByRole('region', { name: 'Dead letters' })
    await dead.getByText('orders-0@1', { exact: true }).waitFor()
    await dead.getByText('RangeError: card declined').waitFor()
    const retries = page.getByRole('region', { name: 'Retries waiting' })
    await retries.getByText('orders-1@0', { exact: true }).waitFor()
    await retries.getByText(/^due in (5\d|60) s$/).waitFor()
    const row = page.getByRole('row').filter({ has: page.getByRole('button', { name: 'orders-0', exact: true }) })
    await row.getByText(/^@0 unsettled /).waitFor()
    await picture(
      row,
      /orders-0, last 10 s: 2 delivered, 0 acked, 1 failed, 1 dead-lettered; committed 0; held back: @0/,
    ).waitFor()
    release()
    await held.getByText('Nothing is held back.').waitFor()
    await picture(row, /2 delivered, 1 acked, .*committed 2$/).waitFor()
  })

  it('scrolls its diagrams, with reduced motion at most once a second', async () => {
    const { page, broker } = await open()
    broker.publish('orders', [{ value: 'good', partition: 0 }])
    await picture(page, /orders-0, .*1 acked/).waitFor()
    /** How often the image of the lane changes within 12 frames, and how long these frames took, ms. */
    const moves = () =>
      page.evaluate<{ changes: number; took: number }>(`(async () => {
        const [canvas, began] = [document.querySelector('#rows canvas'), performance.now()]
        let [changes, before] = [0, canvas.toDataURL()]
        for (let frames = 0; frames < 12; frames++) {
          await new Promise(requestAnimationFrame)
          const now = canvas.toDataURL()
          if (now !== before) changes++
          before = now
        }
        return { changes, took: performance.now() - began }
      })()`)
    expect((await moves()).changes).toBeGreaterThan(1)
    await page.emulateMedia({ reducedMotion: 'reduce' })
    const { changes, took } = await moves()
    expect(changes).toBeLessThanOrEqual(1 + took / 1_000)
  })

  it('can be used by keyboard alone: rows, pause, and copying a marble test, which passes', async () => {
    const { page, broker } = await open()
    broker.publish(
      'orders',
      ['good', 'bad', 'fine'].map(value => ({ value, partition: 0 })),
    )
    await picture(page, /orders-0, .*committed 3/).waitFor()
    await page.getByRole('button', { name: 'orders-0', exact: true }).focus()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('ArrowDown')
    const focused = () => page.evaluate<string>('document.activeElement.textContent')
    expect(await focused()).toBe('retries-0')
    await page.keyboard.press('Home')
    expect(await focused()).toBe('orders-0')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'orders-0' }).waitFor()
    await page.getByRole('region', { name: 'orders-0' }).getByText('@1 dead-lettered').waitFor()

    await page.evaluate('document.activeElement.blur()')
    await page.keyboard.press('Space')
    await page
      .getByRole('button', { pressed: true })
      .getByText(/^Paused at/)
      .waitFor()
    broker.publish('orders', [{ value: 'good', partition: 0 }])
    await page.keyboard.press('c')
    const dialog = page.getByRole('dialog', { name: 'Marble test' })
    await dialog.getByRole('button', { name: 'Copied' }).waitFor()
    const copied = await page.evaluate<string>('navigator.clipboard.readText()')
    expect(copied).toContain('delivered of orders-0')
    expect(copied).toContain("expectDeadLetters().toBe('")
    runPrinted(copied)
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    // A paused page does not show records that were published meanwhile.
    expect(await picture(page, /orders-0, .*committed 3/).count()).toBe(1)
    await page.keyboard.press('Space')
    await picture(page, /orders-0, .*committed 4/).waitFor()
  })

  it.each(['light', 'dark'] as const)(
    'has no accessibility fault that axe finds, in the %s colour scheme',
    async colorScheme => {
      const { page, broker } = await open({ colorScheme })
      broker.publish(
        'orders',
        ['hangs', 'bad', 'later', 'good'].map((value, at) => ({ value, partition: at % 2 })),
      )
      await page.getByRole('region', { name: 'Held back' }).getByText('orders-0@0', { exact: true }).waitFor()
      await page.getByRole('button', { name: 'orders-1', exact: true }).click()
      // By the debugger: the page's content security policy does not allow the script.
      const session = await page.context().newCDPSession(page)
      const expression = `${axe.source}; axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html).join(' ')))`
      const { result } = await session.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
      expect(result.value).toEqual([])
    },
  )

  it('filters partitions by a part of their name, and by whether they are held back', async () => {
    const { page, broker } = await open()
    broker.publish('orders', [{ value: 'hangs', partition: 1 }])
    await page.getByRole('region', { name: 'Held back' }).getByText('orders-1@0', { exact: true }).waitFor()
    const rows = () => page.locator('#rows button').allTextContents()
    await page.getByLabel('Filter').fill('retr')
    expect(await rows()).toEqual(['retries-0', 'retries-1'])
    await page.getByLabel('Filter').fill('')
    await page.getByLabel('Only held back').check()
    expect(await rows()).toEqual(['orders-1'])
  })

  it('stays readable with 100 partitions and 5,000 records a second: it samples, and says so', async () => {
    const { page, broker, inspector } = await open({ partitions: 100 })
    const viewer = await ViewerOf.connect(inspector.url)
    onTestFinished(() => viewer.close())
    const frames = viewer.messages.pipe(filter(({ type }) => type === 'frame'))
    // The load is one of the inspector's own time, four frames a second: a busy machine has longer seconds, and no more load.
    const records = Array.from({ length: 5_000 / 4 }, (_, at) => ({ value: 'v', partition: at % 100 }))
    const publishing = frames.subscribe(() => void broker.publish('orders', records))
    onTestFinished(() => publishing.unsubscribe())

    // At most 240 of the 1,250 in a frame, and no frame is missed.
    await page.getByText(/^Sampled: 1 of [5-9]\.\d deliveries has a mark; counts are exact$/).waitFor()
    expect(await page.locator('#rows tr').count()).toBe(300)
    const { rows, width } = await page.evaluate<{ rows: number; width: number }>(`({
      rows: [...document.querySelectorAll('#rows tr')].filter(row => {
        const { top, bottom } = row.getBoundingClientRect()
        return top > 0 && bottom < innerHeight
      }).length,
      width: document.documentElement.scrollWidth,
    })`)
    expect(rows).toBeGreaterThan(24)
    expect(width).toBeLessThanOrEqual(1366)
    const session = await page.context().newCDPSession(page)
    await session.send('Performance.enable', { timeDomain: 'threadTicks' })
    const metric = async (name: string) => {
      const { metrics } = await session.send('Performance.getMetrics')
      return metrics.find(each => each.name === name)!.value
    }
    const before = await metric('ThreadTime')
    // How many rows it draws, in 20 drawings. Each drawing has the first row.
    const drawn = await page.evaluate<number>(`new Promise(resolve => {
      const [first, all] = [document.querySelector('#rows canvas'), new Set()]
      const { clearRect } = CanvasRenderingContext2D.prototype
      let drawings = 0
      CanvasRenderingContext2D.prototype.clearRect = function (...args) {
        if (this === first.getContext('2d') && drawings++ === 20) resolve(all.size)
        all.add(this.canvas)
        return clearRect.apply(this, args)
      }
    })`)
    // With so many rows it draws every 66 ms. The page needs less than that for a drawing and everything between two. This is
    // processor time: a busy machine has longer intervals, and needs hardly more.
    expect(((await metric('ThreadTime')) - before) / 20).toBeLessThan(0.066)
    expect(drawn).toBeLessThan(40)
    await session.send('HeapProfiler.collectGarbage')
    expect(await metric('JSHeapUsedSize')).toBeLessThan(20e6)

    publishing.unsubscribe()
    viewer.close()
    await page.close()
    // No viewer is connected, so the inspector does nothing for a record.
    const start = channel('tracing:rxmika:receive:start')
    while (start.hasSubscribers) await new Promise(resolve => setImmediate(resolve))
  })

  it('says that the client is closed, and keeps its last state', async () => {
    const { page, client } = await open()
    await client.close()
    await page.getByText('The client is closed. The page shows its last state.').waitFor()
    await page.getByText('closed', { exact: true }).waitFor()
  })
})
