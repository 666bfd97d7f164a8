import { concatMap, delay, mergeMap, NEVER, of, tap } from 'rxjs'
import { type Driver, handle } from 'rxmika'
import { type HistoryCheck, runMarbles, type Scenario, type Simulation, simulate } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'

function errorOf(work: () => unknown): Error {
  try {
    work()
  } catch (error) {
    return error as Error
  }
  throw new Error('it passed')
}

/** Runs the test that the message of a failed simulation contains. */
function runPrinted({ message }: Error, names: Readonly<Record<string, unknown>>): void {
  const code = message.slice(message.indexOf('  it('))
  let test = () => {}
  const it = (_: string, body: () => void) => {
    test = body
  }
  const scope = { it, runMarbles, ...names }
  new Function(...Object.keys(scope), code)(...Object.values(scope))
  test()
}

const two: Scenario = sim => {
  for (let member = 0; member < 2; member++) {
    const client = sim.createClient()
    client
      .topic('orders', { retries: 1, dlq: true })
      .pipe(handle(record => sim.work(record)))
      .subscribe()
  }
}

/** A client that commits one offset too many. */
const hasty: Scenario = sim => {
  const driver = sim.broker.driver()
  const commit = driver.commit.bind(driver)
  driver.commit = (points: Parameters<Driver['commit']>[0]) =>
    commit(points.map(point => ({ ...point, offset: point.offset + 1n })))
  const client = sim.createClient({ driver })
  client
    .topic('orders')
    .pipe(handle(record => sim.work(record, { failures: 0 })))
    .subscribe()
}

/** Settles records before it has worked on them, so it loses its unfinished work when the member is killed. */
const impatient: Scenario = sim => {
  const client = sim.createClient()
  const done: string[] = []
  finished.set(client, done)
  client
    .topic('orders')
    .pipe(
      mergeMap(record => of(record).pipe(delay(sim.delay(record)))),
      tap(record => done.push(String(record.value))),
      tap(record => record.ack()),
    )
    .subscribe()
}
const finished = new WeakMap<object, string[]>()
const inOrder: HistoryCheck = ({ clients }) => {
  const done = finished.get(clients[0]!)!
  expect(done).toEqual([...done].sort())
}
const oneTopic = { orders: { partitions: 1, records: 6 } }

describe('simulate', () => {
  it.each([
    ['classic', 'runs the real client under every fault, and finds no broken guarantee'],
    ['consumer', 'does so if partitions move one by one and retained ones continue'],
  ] as const)('%s groups: %s', { timeout: 60_000 }, (groupProtocol, _) => {
    const report = simulate({ scenario: two, runs: 300, groupProtocol })
    expect(report.runs).toBe(300)
    expect(report.deliveries).toBeGreaterThan(600)
    const graceful = ['revoke', 'closeGracefully']
    const hard = ['lose', 'kill', 'outage', 'produce', 'commit', 'fetch', 'freeze', 'setClock']
    const kinds = [...graceful, ...hard]
    expect(Object.keys(report.faults).sort()).toEqual(kinds.sort())
  })

  it('does the same for the same seed, whatever ran before', () => {
    const runOf = (options: { seed: number; runs: number }, wanted: number) => {
      const entries: string[][] = []
      simulate({
        ...options,
        scenario: two,
        check: history => {
          entries.push(history.entries.map(({ what, frame }) => `${frame} ${what}`))
        },
      })
      return entries[wanted]!
    }
    expect(runOf({ seed: 5, runs: 1 }, 0)).toEqual(runOf({ seed: 1, runs: 5 }, 4))
    expect(runOf({ seed: 5, runs: 1 }, 0)).not.toEqual(runOf({ seed: 6, runs: 1 }, 0))
  })

  it('finds a position that passes a record, and shows the smallest schedule', () => {
    const error = errorOf(() => simulate({ scenario: hasty, topics: oneTopic, faults: {} }))
    expect(error.constructor).toBe(Error)
    expect(error.message).toMatch(/^simulate: seed \d+: frame \d+: group group commits position 2 of orders-0/)
    // Two records at once; the second is still in progress.
    expect(error.message).toMatch(/records of orders-0 +\(\w\w\)/)
    expect(error.message).not.toMatch('latency')
    expect(error.message.split('\n').filter(line => line.includes('play(')).length).toBe(1)
  })

  it('shrinks to the same schedule every time', () => {
    const once = () => errorOf(() => simulate({ scenario: impatient, check: inOrder, topics: oneTopic })).message
    expect(once()).toBe(once())
  })

  it.each([
    ['an invariant', hasty, undefined, { hasty }],
    ['a check of the user', impatient, inOrder, { impatient, check: inOrder, inOrder }],
  ] as const)('writes a test that fails for the same reason: %s', (_, scenario, check, names) => {
    const error = errorOf(() => simulate({ scenario, check, topics: oneTopic, faults: {} }))
    const again = errorOf(() => runPrinted(error, names))
    const cause = error.cause as Error
    expect(again.message.split('\n')[0]).toBe(cause.message.split('\n')[0])
  })

  it('prints faults, members, contents and choices, so that a run can be repeated', { timeout: 60_000 }, () => {
    const scenario: Scenario = sim => {
      const order = sim.pick('order', ['key', 'partition'] as const)
      for (let member = 0; member < 2; member++) {
        const client = sim.createClient()
        client
          .topic('orders', { retries: 1 })
          .pipe(handle(record => sim.work(record), { order }))
          .subscribe()
      }
    }
    const topics = {
      orders: { records: 4, contents: (letter: string) => ({ key: "it's", value: `{"of":"${letter}"}` }) },
    }
    const kinds = new Set<string>()
    for (const what of ['lost', 'revoked', 'disconnected', 'killed', 'retried', 'expelled', 'clock set'] as const) {
      const check: HistoryCheck = ({ entries }) => {
        const seen = entries.some(entry => entry.what === what || (entry.what === 'event' && entry.event.type === what))
        if (seen && entries.some(entry => entry.what === 'delivered')) throw new Error(`somebody was ${what}`)
      }
      const error = errorOf(() => simulate({ scenario, check, topics }))
      for (const [, helper] of error.message.matchAll(/^ +(\w+)\('/gm)) kinds.add(helper!)
      expect(errorOf(() => runPrinted(error, { scenario, check })).message).toBe(`somebody was ${what}`)
    }
    expect([...kinds]).toEqual(expect.arrayContaining(['records', 'lose', 'kill', 'outage', 'freeze', 'setClock']))
  })

  it('passes if the scenario is corrected: the printed test is a regression test', () => {
    const error = errorOf(() => simulate({ scenario: impatient, check: inOrder, topics: oneTopic, faults: {} }))
    const mended: Scenario = sim => {
      const client = sim.createClient()
      const done: string[] = []
      finished.set(client, done)
      const work = concatMap((record: Parameters<Simulation['delay']>[0]) => of(record).pipe(delay(sim.delay(record))))
      client
        .topic('orders')
        .pipe(work)
        .subscribe(record => {
          done.push(String(record.value))
          record.ack()
        })
    }
    runPrinted(error, { impatient: mended, check: inOrder, inOrder })
  })

  it('refuses promises, which virtual time never settles, so that a check would always pass', () => {
    const complaint = (options: object) => errorOf(() => simulate({ scenario: two, runs: 5, ...options })).message
    expect(complaint({ check: () => Promise.reject(new Error('nobody sees this')) })).toContain(
      'simulate: seed 1: the check returned a promise; it must do its work synchronously, in virtual time',
    )
    expect(complaint({ scenario: async () => {} })).toBe(
      'the scenario returned a promise; it must do its work synchronously, in virtual time',
    )
    const awaiting = (sim: Simulation) => {
      sim
        .createClient()
        .topic('orders')
        .pipe(handle(async () => {}))
        .subscribe()
    }
    expect(complaint({ scenario: awaiting })).toMatch(
      /^simulate: \d+ records were delivered and none was settled: the scenario makes promises/,
    )
  })

  it('refuses a scenario to which nothing is delivered, so that it would always pass', () => {
    const complaint = (scenario: Scenario, options = {}) =>
      errorOf(() => simulate({ scenario, runs: 10, ...options })).message
    const unsubscribed: Scenario = sim => void sim.createClient().topic('orders')
    expect(complaint(unsubscribed)).toMatch(/^simulate: \d+ records were written and none was delivered in 10 runs: /)
    expect(complaint(two, { topics: { misspelt: {} } })).toMatch(/records were written and none was delivered/)
    const pattern: Scenario = sim =>
      void sim
        .createClient()
        .topic(/^orders/)
        .subscribe()
    expect(complaint(pattern)).toMatch(/^simulate: no records were written in 10 runs: .* named by the option topics$/)
  })

  it('writes to the topics of an array, and to those that are named for a pattern', () => {
    const reading =
      (what: string[] | RegExp): Scenario =>
      sim =>
        void sim
          .createClient()
          .topic(what)
          .pipe(handle(record => sim.work(record)))
          .subscribe()
    const topics = new Set<string>()
    const check: HistoryCheck = ({ broker }) => {
      for (const topic of ['orders', 'refunds']) if (broker.records(topic).length > 0) topics.add(topic)
    }
    simulate({ scenario: reading(['orders', 'refunds']), runs: 10, check })
    expect(topics).toEqual(new Set(['orders', 'refunds']))
    expect(simulate({ scenario: reading(/^o/), topics: { orders: {} }, runs: 10 }).deliveries).toBeGreaterThan(0)
  })

  it('accepts scenarios that leave every record unsettled', () => {
    const waiting = (sim: Simulation) => {
      sim
        .createClient()
        .topic('orders')
        .pipe(handle(() => NEVER))
        .subscribe()
    }
    expect(simulate({ scenario: waiting, runs: 5 }).deliveries).toBeGreaterThan(0)
  })

  it('names invalid options', () => {
    const complaint = (options: object) => errorOf(() => simulate({ scenario: two, ...options })).message
    expect(complaint({ runs: -1 })).toBe('simulate: runs must be an integer ≥ 0 (got -1)')
    expect(complaint({ seed: 0.5 })).toBe('simulate: seed must be an integer (got 0.5)')
    expect(complaint({ faults: { lose: Number.NaN } })).toBe('simulate: faults.lose must be an integer ≥ 0 (got NaN)')
    expect(complaint({ topics: { orders: { partitions: 0 } } })).toBe(
      "simulate: topic 'orders': partitions must be an integer ≥ 1 (got 0)",
    )
  })
})
