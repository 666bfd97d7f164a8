import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { brokers, Reading } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

/** The maximum time from the return of the last broker to the next delivery, ms. */
const recovery = 5_000

interface OutageOfAll {
  readonly groupProtocol: 'classic' | 'consumer' | undefined
  /** The order in which brokers come back. It decides which of them lead and coordinate. */
  readonly order: readonly number[]
  /** ms. */
  readonly lasts: number
  /** The time between the returns of two brokers, ms. */
  readonly apart: number
}

const outage: fc.Arbitrary<OutageOfAll> = fc.record({
  groupProtocol: fc.constantFrom('classic' as const, 'consumer' as const, undefined),
  order: fc.shuffledSubarray([0, 1, 2], { minLength: 3, maxLength: 3 }),
  lasts: fc.integer({ min: 0, max: 10_000 }),
  apart: fc.integer({ min: 0, max: 1_500 }),
})

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

/** The time from the return of the last broker until everything is delivered and can be committed, ms. */
async function recovering({ groupProtocol, order, lasts, apart }: OutageOfAll): Promise<number> {
  await using test = new Scope()
  const kafka = await brokers(test, 3)
  kafka.create('orders', 0, 1, 2)
  for (const partition of [0, 1, 2]) kafka.log('orders', partition).append(`before ${partition}`)
  const request = groupProtocol === undefined ? { group: undefined } : { groupProtocol, sessionTimeout: 30_000 }
  const reading = await Reading.start(test, kafka, ['orders'], request)
  await reading.until(() => reading.has('before 0', 'before 1', 'before 2'))
  kafka.stop()
  for (const partition of [0, 1, 2]) kafka.log('orders', partition).append(`after ${partition}`)
  await pause(lasts)
  for (const node of order) {
    await kafka.brokers[node]!.start()
    if (node !== order.at(-1)) await pause(apart)
  }
  const since = performance.now()
  await reading.until(() => reading.has('after 0', 'after 1', 'after 2'))
  if (groupProtocol !== undefined) await reading.commitAll(['orders-0', 'orders-1', 'orders-2'], 2)
  expect(reading.error).toBeUndefined()
  expect(reading.records).toHaveLength(6)
  return performance.now() - since
}

describe('an outage of all brokers', () => {
  // New random cases in each run, all in parallel because they mostly wait.
  it('ends within 5 s after the last of them is back, however long it was', async () => {
    const drawn = fc.sample(outage, 30)
    const took = await Promise.all(drawn.map(recovering))
    for (const [at, given] of drawn.entries()) expect(took[at], JSON.stringify(given)).toBeLessThan(recovery)
  })
})
