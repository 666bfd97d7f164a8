import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { filter, firstValueFrom, lastValueFrom, Subject, take } from 'rxjs'
import { type Client, type ConsumeRecord, handle } from 'rxmika'
import { inspect } from 'rxmika/inspector'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { noClient, type ReceiveMessage, receiveChannel, type SettleMessage, settleChannel } from '../../../src/channels'
import { errorHappening, HappeningLog } from '../../../src/inspector/happenings'
import { Sampling } from '../../../src/inspector/sampling'
import { leftPerCycle } from '../memory/heap'
import { billing } from './billing'
import { ViewerOf } from './viewer-of'

const partitions = 100
/** Records a second. */
const load = 5_000

const clients: Client[] = []
afterEach(async () => {
  await Promise.all(clients.splice(0).map(client => client.close()))
})

const isWatched = () => channel('tracing:rxmika:receive:start').hasSubscribers

describe(`the inspector, at ${partitions} partitions and ${load} records a second`, () => {
  it('keeps no memory for a record that it has shown', { timeout: 60_000 }, async () => {
    const { client } = billing()
    clients.push(client)
    const { url } = await inspect(client)
    const viewer = connect(Number(new URL(url).port), '127.0.0.1')
    onTestFinished(() => void viewer.destroy())
    viewer.write(`GET /events HTTP/1.1\r\nhost: ${new URL(url).host}\r\n\r\n`)
    await once(viewer, 'data')
    viewer.resume()
    let offset = 0n
    // Uses only the channels, because a memory broker would keep the records, and the inspector reads nothing else.
    const second = async () => {
      for (let at = 0; at < load; at++) {
        const place = { topic: 'orders', partition: at % partitions, offset: offset++ }
        const record = { ...place, key: Buffer.from(`k${offset}`), source: { kind: 'topic', ...place }, attempt: 1 }
        const of = { ...noClient, client, record: record as unknown as ConsumeRecord } as ReceiveMessage
        receiveChannel.start.publish(of)
        settleChannel.start.publish({ ...of, how: 'ack', reason: undefined } as SettleMessage)
      }
      // Frames are sent meanwhile, four a second of this machine.
      await setImmediate()
    }
    // The newest 10,000 to 20,000 entries are kept for a marble test. Their number is equal after every four seconds. A mark or
    // an entry has more than 64 bytes.
    const left = await leftPerCycle(4, 64 * load, second)
    expect(left).toBeLessThan(64 * load)
  })

  it('keeps nothing of a frame that was sent, even if its records never settle', async () => {
    const sampling = new Sampling()
    let offset = 0
    const left = await leftPerCycle(500, 2_000, async () => {
      for (let at = 0; at < load / 4; at++) sampling.delivered(at % partitions, offset++, 1, 0)
      expect(sampling.take(0).shown).toBeGreaterThan(100)
    })
    // Each of its marks has more than 16 bytes.
    expect(left).toBeLessThan(2_000)
  })

  it('keeps the newest dead letters, errors and rebalances, and counts all', () => {
    const log = new HappeningLog()
    for (let at = 0; at < 10_000; at++) log.add(errorHappening(new RangeError('x'.repeat(1_000)), at))
    const { count, newest } = log.toJSON()
    expect(count).toBe(10_000)
    expect(newest.map(({ at }) => at)).toEqual(Array.from({ length: 100 }, (_, at) => 9_900 + at))
    for (const { text } of newest) expect(text.length).toBeLessThanOrEqual(301)
  })

  it('uses less than 1 % of a core for the records while nobody looks', { timeout: 60_000 }, async () => {
    const { client, broker } = billing({}, partitions)
    clients.push(client)
    const acked = new Subject<unknown>()
    client
      .topic('orders')
      .pipe(handle(() => {}, { order: 'none', concurrency: 1_000 }))
      .subscribe(acked)
    client.start()
    await firstValueFrom(client.state.pipe(filter(state => state === 'running')))
    const count = 4 * load
    const records = Array.from({ length: count }, (_, at) => ({ value: 'v', partition: at % partitions }))
    /** ms of processor time, of all threads. */
    const consume = async () => {
      const all = lastValueFrom(acked.pipe(take(count)))
      const before = process.cpuUsage()
      broker.publish('orders', records)
      await all
      const { user, system } = process.cpuUsage(before)
      return (user + system) / 1_000
    }
    // The inspector may use 1 % of the four seconds in which these records come.
    const allowed = 0.01 * (count / load) * 1_000
    // Compilation and garbage collection vary. The inspector's cost is in every measurement, so the minima are compared.
    let [without, inspected] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
    await consume()
    for (let round = 0; round < 2 || (round < 8 && inspected - without >= allowed); round++) {
      without = Math.min(without, await consume())
      const { url, close } = await inspect(client)
      const viewer = await ViewerOf.connect(url)
      viewer.close()
      while (isWatched()) await setImmediate()
      inspected = Math.min(inspected, await consume())
      await close()
    }
    expect(inspected - without).toBeLessThan(allowed)
  })
})
