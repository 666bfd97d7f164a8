import { asyncScheduler, VirtualTimeScheduler } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { Publisher, Sending } from '../../src/client/publisher.js'
import { type Outgoing, PublishError } from '../../src/index.js'
import type { ProduceResult } from '../../src/produce-result.js'

const record = { topic: 'copies', key: 'k', value: 'v', partition: 3 }

/** Records the calls that it gets. */
class Noting extends Sending {
  readonly topic = record.topic
  readonly key = record.key
  readonly partition = record.partition
  made = 0

  constructor(
    readonly told: unknown[] = [],
    readonly wanted = true,
  ) {
    super()
  }

  record() {
    this.made++
    return record
  }

  protected settled(result: ProduceResult): void {
    this.told.push(result)
  }

  abandoned(): void {
    this.told.push('abandoned')
  }

  delayed(error: PublishError, lasting: boolean): void {
    this.told.push([error.message, lasting])
  }
}

describe('a record in flight', () => {
  it('is passed to the driver by its address, and encoded on request', () => {
    const outgoings: Outgoing[] = []
    const publisher = new Publisher({ produce: outgoing => outgoings.push(outgoing) }, asyncScheduler)
    const sending = new Noting()
    publisher.send(sending)
    expect(outgoings[0]).toMatchObject({ topic: 'copies', key: 'k', partition: 3, wanted: true })
    expect(sending.made).toBe(0)
    expect(outgoings[0]!.record()).toBe(record)
  })

  it.each([
    ['nothing', undefined],
    ['no place', { ok: true, topic: 'copies', partition: 0 }],
    ['a place of no use', { ok: true, topic: 'copies', partition: 0.5, offset: 1n }],
    ['an offset that is a number', { ok: true, topic: 'copies', partition: 0, offset: 1 }],
    ['a bare place, as drivers once gave', { topic: 'copies', partition: 0, offset: 1n }],
    ['a bare error, as drivers once gave', new PublishError('never', { retriable: false })],
    ['a refusal without an error', { ok: false }],
    ['a refusal by an error of no kind', { ok: false, error: new Error('odd') }],
    ['a refusal by half an error', { ok: false, error: { retriable: false, message: 'never' } }],
    ['a refusal that may pass', { ok: false, error: new PublishError('not now', { retriable: true }) }],
  ])('is not acknowledged, and is produced again after a driver answers with %s', (_, answer) => {
    const clock = new VirtualTimeScheduler()
    const outgoings: Outgoing[] = []
    const told: unknown[] = []
    const publisher = new Publisher({ produce: outgoing => outgoings.push(outgoing) }, clock)
    publisher.send(new Noting(told))
    outgoings[0]!.settle(answer as never)
    expect(told).toEqual([[expect.any(String), true]])
    clock.flush()
    expect(outgoings).toHaveLength(2)
    const place = { ok: true, topic: 'copies', partition: 0, offset: 1n } as const
    outgoings[1]!.settle(place)
    expect(told.slice(1)).toEqual([place])
  })

  it('is produced again after a driver throws', () => {
    const clock = new VirtualTimeScheduler()
    const told: unknown[] = []
    let asked = 0
    const publisher = new Publisher(
      {
        produce: outgoing => {
          if (asked++ === 0) throw new Error('odd')
          outgoing.settle({ ok: true, topic: 'copies', partition: 0, offset: 1n })
        },
      },
      clock,
    )
    publisher.send(new Noting(told))
    clock.flush()
    expect(told).toEqual([['publishing to copies was not acknowledged', true], expect.objectContaining({ ok: true })])
  })

  it('is not produced again once it is unsubscribed, or after the end', () => {
    const clock = new VirtualTimeScheduler()
    const refusal = { ok: false, error: new PublishError('not now', { retriable: true }) } as const
    const told: unknown[] = []
    let asked = 0
    const publisher = new Publisher(
      {
        produce: outgoing => {
          asked++
          outgoing.settle(refusal)
        },
      },
      clock,
    )
    publisher.send(new Noting(told, false))
    expect(told).toEqual(['abandoned'])
    publisher.send(new Noting())
    publisher.end()
    clock.flush()
    expect(asked).toBe(2)
  })
})
