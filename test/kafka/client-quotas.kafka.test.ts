import { lastValueFrom, tap } from 'rxjs'
import { expect } from 'vitest'
import { Collected } from '../contract/collected'
import { texts } from '../contract/world'
import { describeOwnKafka } from './describe-kafka'
import { ownKafka } from './own-kafka'
import { runOnKafkaClasses } from './protocol/java-program'

/** Bytes per second. */
const writing = 20_000
/**
 * For writes, a broker counts over some ten seconds. It always answers a fetch of a larger batch without records, so no
 * consumer can read that batch.
 */
const reading = 50_000
/** Longer than the time-out of any request, ms. */
const longThrottle = 10_500

describeOwnKafka('a client that its brokers throttle', () => {
  const kafka = ownKafka()
  const { backend, scenario } = kafka

  const publishing = (world: { name(name: string): string }, from: number, to: number) => {
    const topic = world.name('orders')
    return Array.from({ length: to - from }, (_, at) => ({ topic, value: `${from + at} `.padEnd(1_000, '.') }))
  }

  scenario('is not disconnected, reports nothing, and neither writes nor reads a record twice', async world => {
    const topic = await world.topic('orders')
    const clientId = world.name('throttled')
    const run = world.client({ clientId, group: world.name('group') })
    const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
    await run.start()
    const quotas = [`producer_byte_rate ${writing}`, `consumer_byte_rate ${reading}`]
    await runOnKafkaClasses('KafkaQuotas.java', [kafka.server.brokers[0]!, clientId, ...quotas].join('\n'))

    // Far more than the rate: the answer says for how long the connection is muted, and later requests wait for that.
    const publish = (from: number, to: number) =>
      lastValueFrom(run.client.publish(publishing(world, from, to), { timeout: 55_000 }))
    const first = await publish(0, 420)
    const since = performance.now()
    const second = await publish(420, 430)
    const throttled = performance.now() - since
    console.info(`throttled for ${Math.round(throttled)} ms`)
    expect(throttled).toBeGreaterThan(longThrottle)
    expect([...first, ...second].map(({ offset }) => Number(offset))).toEqual(
      Array.from({ length: 430 }, (_, at) => at),
    )

    await run.committed(topic, 0, 430)
    const values = publishing(world, 0, 430).map(({ value }) => value)
    expect(texts(seen)).toEqual(values)
    expect(texts(await backend.records(topic))).toEqual(values)
    expect(run.errors.values).toEqual([])
    expect(run.events.values.map(({ type }) => type)).not.toContain('disconnected')
    expect(run.events.values.map(({ type }) => type)).not.toContain('lost')
  })
})
