import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FetchSize, maxPartitionBytes, minPartitionBytes } from '../../src/drivers/kafka/fetching/fetch-size'

/** A partition whose pipeline takes `rate` bytes per ms, and whose requests take `took` ms. */
class Partition {
  readonly size = new FetchSize()
  now = 0

  constructor(
    readonly rate: number,
    readonly took: number,
  ) {}

  /** How long the pipeline takes for half of a fetch. Meanwhile fetching is paused. */
  get pause(): number {
    return this.size.bytes / 2 / this.rate
  }

  /** One fetch, of which the pipeline takes half. */
  fetch(): void {
    const { pause } = this
    this.now += this.took
    this.size.answered(this.took)
    this.size.pause(this.now)
    this.now += pause
    this.size.resume(this.now)
  }
}

const rates = fc.double({ min: 0.001, max: 1e6, noNaN: true })
const times = fc.double({ min: 0, max: 500, noNaN: true })

describe('how much of a partition is fetched at a time', () => {
  it('settles, whatever the speed of the pipeline and of the broker, and keeps the pipeline busy for some requests', () => {
    fc.assert(
      fc.property(rates, times, (rate, took) => {
        const partition = new Partition(rate, took)
        for (let times = 0; times < 10; times++) partition.fetch()
        const { size, pause } = partition
        const settled = size.bytes
        for (let times = 0; times < 10; times++) {
          partition.fetch()
          expect(size.bytes).toBe(settled)
        }
        const enough = Math.max(50, 4 * took)
        if (settled < maxPartitionBytes) expect(pause).toBeGreaterThanOrEqual(enough * (1 - 1e-9))
        if (settled > minPartitionBytes) expect(pause).toBeLessThanOrEqual(5 * enough * (1 + 1e-9))
      }),
    )
  })

  it('follows a pipeline whose speed changes, within ten fetches', () => {
    fc.assert(
      fc.property(rates, rates, times, (before, after, took) => {
        const changed = new Partition(before, took)
        for (let times = 0; times < 10; times++) changed.fetch()
        Object.assign(changed, { rate: after })
        for (let times = 0; times < 10; times++) changed.fetch()
        const enough = Math.max(50, 4 * took)
        if (changed.size.bytes < maxPartitionBytes) expect(changed.pause).toBeGreaterThanOrEqual(enough * (1 - 1e-9))
        if (changed.size.bytes > minPartitionBytes) expect(changed.pause).toBeLessThanOrEqual(5 * enough * (1 + 1e-9))
      }),
    )
  })

  it('is soon the maximum for a pipeline that takes everything at once', () => {
    const size = new FetchSize()
    expect(size.bytes).toBe(minPartitionBytes)
    size.answered(1)
    size.answered(1)
    expect(size.bytes).toBe(maxPartitionBytes)
    for (let times = 0; times < 5; times++) size.answered(1)
    expect(size.bytes).toBe(maxPartitionBytes)
  })

  it('is not increased by an answer that arrives while earlier records wait', () => {
    const size = new FetchSize()
    size.pause(0)
    size.answered(1)
    size.pause(10)
    size.answered(1)
    expect(size.bytes).toBe(minPartitionBytes)
    // The pause began at 0, so it was long.
    size.resume(60)
    expect(size.bytes).toBe(minPartitionBytes)
    size.answered(1)
    expect(size.bytes).toBe(minPartitionBytes)
    size.answered(1)
    expect(size.bytes).toBeGreaterThan(minPartitionBytes)
  })
})
