import { asapScheduler, bufferTime, filter, pipe } from 'rxjs'
import { breaker, deadLetter, discard, fixed, type HandleOptions, handle, redeliver, retryTopic } from 'rxmika'
import { type HistoryCheck, type Scenario, type Simulation, simulate } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'

const runs = Number(process.env.RXMIKA_HISTORIES ?? 1_000)
const timeout = 120_000

/** At the end every position is the end of its log. */
const allDone: HistoryCheck = ({ broker, entries }) => {
  for (const topic of ['orders', 'retry']) expect(broker.lag('group', topic), topic).toBe(0)
  const outcomes = new Set(
    entries.flatMap(entry => (entry.what === 'acked' || entry.what === 'failed' ? [entry.letter] : [])),
  )
  for (const { offset, partition, value } of broker.records('orders')) {
    expect(outcomes, `orders-${partition} offset ${offset}`).toContain(String(value))
  }
}

/** Records are on the DLQ topic if, and only if, they failed at every attempt. */
const deadLettersOnce: HistoryCheck = history => {
  allDone(history)
  const isGraceful = history.entries.every(({ what }) => what !== 'killed' && what !== 'expelled')
  const lost = history.entries.some(entry => entry.what === 'event' && entry.event.type === 'lost')
  if (!isGraceful || lost) return
  const dead = history.broker.records('dlq').map(({ value }) => String(value))
  expect(dead).toEqual([...new Set(dead)])
}

function playMembers(sim: Simulation, orders: readonly HandleOptions['order'][]): void {
  const backoff = sim.pick('backoff', [undefined, fixed(5), fixed(30)])
  const order = sim.pick('order', orders)
  const maxInFlight = sim.pick('maxInFlight', [10_000, 2, 1])
  for (let member = 0; member < 2; member++) {
    sim
      .createClient()
      .topic('orders', { retries: 2, dlq: true, backoff, maxInFlight })
      .pipe(handle(record => sim.work(record, { failures: 3 }), { order }))
      .subscribe()
  }
}

const twoMembers: Scenario = sim => playMembers(sim, ['partition', 'none'])
const inKeyOrder: Scenario = sim => playMembers(sim, ['key'])

const keyed = { orders: { contents: (letter: string) => ({ key: 'kl'[letter.charCodeAt(0) % 2], value: letter }) } }

describe('histories: two members under random schedules', () => {
  it('lose nothing, and settle everything in the end', { timeout }, () => {
    simulate({ scenario: twoMembers, check: deadLettersOnce, topics: keyed, runs })
  })

  it('do so with the order of keys', { timeout }, () => {
    simulate({ scenario: inKeyOrder, check: deadLettersOnce, topics: keyed, runs })
  })

  it('redeliver nothing that was settled after graceful events only', { timeout }, () => {
    const faults = { revoke: 3, closeGracefully: 1, produce: 2, fetch: 2 }
    const check: HistoryCheck = history => {
      deadLettersOnce(history)
      // A settlement is final: no source is acked twice.
      const acked = history.entries.flatMap(entry => {
        if (entry.what !== 'acked') return []
        const { topic, partition, offset } = entry.record.source
        return [`${topic}-${partition} ${offset}`]
      })
      expect(acked).toEqual([...new Set(acked)])
    }
    simulate({ scenario: twoMembers, check, faults, topics: keyed, runs })
  })

  it('keep the guarantees while partitions are lost repeatedly', { timeout }, () => {
    simulate({ scenario: twoMembers, check: allDone, faults: { lose: 4, revoke: 2, commit: 2 }, topics: keyed, runs })
  })

  it('keep the guarantees with redelivery in place and with discarded records', { timeout }, () => {
    const scenario: Scenario = sim => {
      for (let member = 0; member < 2; member++) {
        const client = sim.createClient()
        const again = redeliver(client, { attempts: 2, backoff: sim.pick('backoff', [undefined, fixed(10)]) })
        const onFail = pipe(again, retryTopic(client, { retries: 1 }), discard())
        client
          .topic('orders', { onFail })
          .pipe(handle(record => sim.work(record, { failures: 4 }), { order: 'key' }))
          .subscribe()
      }
    }
    simulate({ scenario, check: allDone, topics: keyed, runs })
  })

  it('keep the guarantees with the order of keys and with the strict gate', { timeout }, () => {
    const scenario: Scenario = sim => {
      const batch = sim.pick('batch', [false, true])
      for (let member = 0; member < 2; member++) {
        sim
          .createClient()
          .topic('orders', { retries: 1, dlq: true, batch, keyFence: { afterDeadLetter: 'continue' } })
          .pipe(handle(record => sim.work(record, { failures: 3 }), { order: 'key' }))
          .subscribe()
      }
    }
    simulate({ scenario, check: allDone, topics: keyed, runs })
  })

  it('keep the guarantees with batches', { timeout }, () => {
    const scenario: Scenario = sim => {
      for (let member = 0; member < 2; member++) {
        sim
          .createClient()
          .topic('orders', { retries: 2, dlq: true })
          .pipe(
            bufferTime(3),
            filter(records => records.length > 0),
            handle(records => sim.work(records[0]!, { failures: 2 })),
          )
          .subscribe()
      }
    }
    simulate({ scenario, check: allDone, topics: keyed, runs: Math.ceil(runs / 5), tail: 500 })
  })

  it('are not affected by setting the wall clock: commits, the strict gate and delayed retries continue', {
    timeout,
  }, () => {
    const scenario: Scenario = sim => {
      const backoff = sim.pick('backoff', [fixed(50), fixed(400), fixed(2_000)])
      const batch = sim.pick('batch', [false, true])
      const commitInterval = sim.pick('commitInterval', [0, 20, 300])
      for (let member = 0; member < 2; member++) {
        sim
          .createClient({ commitInterval })
          .topic('orders', { retries: 2, dlq: true, backoff, batch })
          .pipe(handle(record => sim.work(record, { failures: 3 })))
          .subscribe()
      }
    }
    // With the strict gate each record takes a commit and two delays. If one depended on the wall clock, it would take hours.
    const [tail, topics] = [30_000, { orders: { ...keyed.orders, records: 12 } }]
    simulate({ scenario, check: deadLettersOnce, faults: { setClock: 10, revoke: 1 }, topics, runs, tail })
    simulate({
      scenario,
      check: allDone,
      faults: { setClock: 6, freeze: 2, lose: 1 },
      topics,
      runs: Math.ceil(runs / 2),
      tail,
    })
  })

  it('trip breakers by elapsed time, whatever the wall clock shows', { timeout }, () => {
    const [failures, within] = [2, 100]
    const scenario: Scenario = sim => {
      const client = sim.createClient()
      const onFail = pipe(breaker(client, { failures, within }), deadLetter(client))
      client
        .topic('orders', { onFail })
        .pipe(handle(record => sim.work(record, { delay: 120, failures: 1 }), { order: 'none' }))
        .subscribe()
      client.events.subscribe(({ type }) => {
        if (type === 'tripped') asapScheduler.schedule(() => client.resume('orders'))
      })
    }
    const check: HistoryCheck = history => {
      allDone(history)
      // Counts failures within the window, from 0 again after the breaker has tripped.
      let passed: number[] = []
      let expected = 0
      for (const entry of history.entries) {
        if (entry.what !== 'failed') continue
        const recent = passed.filter(frame => entry.frame - frame < within)
        if (recent.length < failures) passed = [...recent, entry.frame]
        else {
          expected++
          passed = []
        }
      }
      const tripped = history.entries.filter(entry => entry.what === 'event' && entry.event.type === 'tripped')
      expect(tripped).toHaveLength(expected)
    }
    const topics = { orders: { partitions: 2, records: 12 } }
    simulate({ scenario, check, faults: { setClock: 12 }, topics, runs })
  })

  it('keep the guarantees while processes are frozen and their group continues without them', { timeout }, () => {
    const report = simulate({ scenario: twoMembers, check: allDone, faults: { freeze: 4 }, topics: keyed, runs })
    expect(report.faults.freeze).toBeGreaterThan(runs / 2)
    simulate({
      scenario: inKeyOrder,
      check: allDone,
      faults: { freeze: 2, revoke: 1, outage: 1, commit: 1 },
      topics: keyed,
      runs,
    })
  })
})
