import fc from 'fast-check'
import { bufferTime, delay, filter, mergeMap, of, pipe, tap, throwError, timer, VirtualTimeScheduler } from 'rxjs'
import {
  type ConsumeRecord,
  createClient,
  deadLetter,
  fixed,
  handle,
  type RxMikaError,
  redeliver,
  type TopicOptions,
} from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'

/** A record of a key, how long each attempt takes, and how many of its attempts fail. */
interface Plan {
  readonly key: string | null
  readonly takes: number
  readonly failures: number
}

const plans = fc.array(
  fc.record<Plan>({
    key: fc.constantFrom('a', 'b', 'c', '', null),
    takes: fc.constantFrom(0, 0, 1, 5, 30),
    failures: fc.constantFrom(0, 0, 0, 1, 2, 3),
  }),
  { maxLength: 40 },
)

interface Settled {
  readonly plan: number
  readonly key: string | null
  readonly how: 'delivered' | 'acked' | 'failed'
}

function play(list: readonly Plan[], keyFence: TopicOptions['keyFence'], retries: number, maxInFlight = 10_000) {
  const clock = new VirtualTimeScheduler(undefined, 5_000)
  const broker = memoryBroker({ scheduler: clock })
  broker.publish(
    'orders',
    list.map(({ key }, at) => ({ key, value: String(at) })),
  )
  const client = createClient({ driver: broker.driver(), group: 'billing', dlqTopic: 'dlq', logger: false })
  const backoff = retries > 0 ? fixed(10) : undefined
  const log: Settled[] = []
  const note = (how: Settled['how']) => (record: ConsumeRecord) => {
    log.push({ plan: Number(record.value), key: record.key && String(record.key), how })
  }
  const work = client.topic('orders', { retries, backoff, dlq: true, keyFence, maxInFlight }).pipe(
    tap(note('delivered')),
    mergeMap(record => {
      const { takes } = list[Number(record.value)]!
      return takes === 0 ? of(record) : of(record).pipe(delay(takes, clock))
    }),
  )
  work.subscribe(record => {
    const fails = record.attempt <= list[Number(record.value)]!.failures
    note(fails ? 'failed' : 'acked')(record)
    if (fails) record.fail(new Error('no'))
    else record.ack()
  })
  const errors: RxMikaError[] = []
  client.start().subscribe(error => errors.push(error))
  clock.flush()
  expect(errors).toEqual([])
  return { log, committed: broker.committed('billing', 'orders', 0) ?? 0n, dead: broker.records('dlq') }
}

const keyed = ({ key }: { readonly key: string | null }) => key !== null

describe('keyFence', () => {
  it('delivers one record of a key at a time, in order, through every retry', () => {
    fc.assert(
      fc.property(plans, fc.nat(2), fc.constantFrom(1, 3, 10_000), (list, retries, maxInFlight) => {
        const { log, committed, dead } = play(list, { afterDeadLetter: 'continue' }, retries, maxInFlight)
        expect(committed).toBe(BigInt(list.length))
        expect(dead.map(({ value }) => Number(value)).sort()).toEqual(
          list.flatMap(({ failures }, at) => (failures > retries ? [at] : [])).sort(),
        )
        for (const key of ['a', 'b', 'c', '']) {
          const expected = list.flatMap((plan, at): Settled[] => {
            if (plan.key !== key) return []
            const failed = Math.min(plan.failures, retries + 1)
            const outcomes = [...Array(failed).fill('failed'), ...(failed > retries ? [] : ['acked'])]
            return outcomes.flatMap((how): Settled[] => [
              { plan: at, key, how: 'delivered' },
              { plan: at, key, how },
            ])
          })
          expect(log.filter(settled => settled.key === key)).toEqual(expected)
        }
      }),
    )
  })

  it("dead-letters later records of a dead-lettered key in order, untried, with afterDeadLetter: 'dead-letter'", () => {
    fc.assert(
      fc.property(plans, fc.nat(2), (list, retries) => {
        const { log, committed, dead } = play(list, { afterDeadLetter: 'dead-letter' }, retries)
        expect(committed).toBe(BigInt(list.length))
        for (const key of ['a', 'b', 'c', '']) {
          const ofKey = list.flatMap((plan, at) => (plan.key === key ? [at] : []))
          const first = ofKey.findIndex(at => list[at]!.failures > retries)
          const [before, after] = first < 0 ? [ofKey, []] : [ofKey.slice(0, first + 1), ofKey.slice(first)]
          const tried = log.filter(settled => settled.key === key).map(({ plan }) => plan)
          expect([...new Set(tried)]).toEqual(before)
          const letters = dead.filter(letter => String(letter.key) === key && letter.key !== null)
          expect(letters.map(({ value }) => Number(value))).toEqual(after)
          for (const { headers } of letters.slice(1)) {
            const reason = headers.mika_err_billing_msg
            expect(String(reason)).toBe(
              `not tried: the record of the same key at orders-0@${after[0]} was dead-lettered, and this one follows it`,
            )
          }
        }
      }),
    )
  })

  it('holds back no records of other keys, or without a key', () => {
    const stuck: Plan = { key: 'a', takes: 0, failures: 1_000 }
    const others = ['b', 'c', null, null, ''].map((key): Plan => ({ key, takes: 0, failures: 0 }))
    const clock = new VirtualTimeScheduler(undefined, 1_000)
    const broker = memoryBroker({ scheduler: clock })
    const list = [stuck, ...others, { ...stuck, failures: 0 }]
    broker.publish(
      'orders',
      list.map(({ key }, at) => ({ key, value: String(at) })),
    )
    const client = createClient({ driver: broker.driver(), group: 'billing', logger: false })
    const acked: number[] = []
    client
      .topic('orders', { retries: 2 ** 31 - 1, backoff: fixed(100), keyFence: { afterDeadLetter: 'continue' } })
      .subscribe(record => {
        const { failures } = list[Number(record.value)]!
        if (record.attempt <= failures) record.fail(new Error('no'))
        else if (record.ack()) acked.push(Number(record.value))
      })
    client.start()
    clock.flush()
    expect(acked).toEqual(others.map((_, at) => at + 1))
    expect(acked.filter(at => keyed(list[at]!))).toHaveLength(3)
    expect(broker.committed('billing', 'orders', 0) ?? 0n).toBe(0n)
  })
})

describe("handle with order 'key', on a topic whose route redelivers", () => {
  it('keeps a key behind its failed record, and continues every other key', () => {
    fc.assert(
      fc.property(plans, fc.integer({ min: 1, max: 3 }), fc.constantFrom(1, 3, 64), (list, attempts, concurrency) => {
        const log = handled(list, { attempts, concurrency })
        for (const key of ['a', 'b', 'c', '']) {
          const expected = list.flatMap((plan, at) =>
            plan.key === key ? Array<number>(Math.min(plan.failures + 1, attempts)).fill(at) : [],
          )
          expect(log.filter(at => list[at]!.key === key)).toEqual(expected)
        }
      }),
    )
  })

  it('does so for arrays of records', () => {
    fc.assert(
      fc.property(plans, fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 4 }), (list, attempts, together) => {
        const log = handled(list, { attempts, concurrency: 64, together })
        for (const key of ['a', 'b', 'c', '']) {
          const firsts = [...new Set(log)].filter(at => list[at]!.key === key)
          expect(firsts).toEqual(list.flatMap((plan, at) => (plan.key === key ? [at] : [])))
        }
      }),
    )
  })

  it('lets a graceful close complete while a key waits behind its failed record', async () => {
    const broker = memoryBroker()
    broker.publish('orders', [
      { key: 'a', value: 'fails' },
      { key: 'a', value: 'follows' },
      { key: 'b', value: 'other' },
    ])
    const client = createClient({ driver: broker.driver(), group: 'billing', logger: false })
    const begun: string[] = []
    const other = new Promise<void>(resolve => {
      const route = pipe(
        redeliver(client, { attempts: 2, backoff: fixed(3_600_000) }),
        deadLetter(client, { topic: 'dlq' }),
      )
      const fail = (record: ConsumeRecord) => {
        begun.push(String(record.value))
        if (String(record.value) === 'fails') throw new Error('no')
      }
      client
        .topic('orders', { onFail: route })
        .pipe(handle(fail, { order: 'key' }))
        .subscribe(({ record }) => String(record.value) === 'other' && resolve())
    })
    client.start()
    await other
    expect(begun).toEqual(['fails', 'other'])
    // The close cannot wait for them: one is due in an hour, the other waits behind it in the pipeline.
    expect(await client.closeGracefully({ timeout: 2 ** 31 - 1 })).toMatchObject({ drained: false, unsettled: 1 })
    expect(begun).toEqual(['fails', 'other'])
  })
})

/** The order in which handlers begin on one partition. */
function handled(
  list: readonly Plan[],
  options: { readonly attempts: number; readonly concurrency: number; readonly together?: number },
): number[] {
  const { attempts, concurrency, together } = options
  const clock = new VirtualTimeScheduler(undefined, 5_000)
  const broker = memoryBroker({ scheduler: clock })
  broker.publish(
    'orders',
    list.map(({ key }, at) => ({ key, value: String(at) })),
  )
  const client = createClient({ driver: broker.driver(), group: 'billing', dlqTopic: 'dlq', logger: false })
  const begun: number[] = []
  const project = (input: ConsumeRecord | readonly ConsumeRecord[]) => {
    const records = Array.isArray(input) ? (input as readonly ConsumeRecord[]) : [input as ConsumeRecord]
    begun.push(...records.map(({ value }) => Number(value)))
    const fails = records.some(({ value, attempt }) => attempt <= list[Number(value)]!.failures)
    const takes = Math.max(...records.map(({ value }) => list[Number(value)]!.takes))
    const ended = fails ? throwError(() => new Error('no')) : of('done')
    return takes === 0 ? ended : timer(takes, clock).pipe(mergeMap(() => ended))
  }
  const onFail = pipe(redeliver(client, { attempts, backoff: fixed(10) }), deadLetter(client))
  const orders = client.topic('orders', { onFail })
  const work =
    together === undefined
      ? orders.pipe(handle(project, { order: 'key', concurrency }))
      : orders.pipe(
          bufferTime(2, null, together, clock),
          filter(records => records.length > 0),
          handle(project, { order: 'key', concurrency }),
        )
  work.subscribe()
  const errors: RxMikaError[] = []
  client.start().subscribe(error => errors.push(error))
  clock.flush()
  expect(errors).toEqual([])
  expect(broker.committed('billing', 'orders', 0) ?? 0n).toBe(BigInt(list.length))
  return begun
}
