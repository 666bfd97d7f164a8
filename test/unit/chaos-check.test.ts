import { describe, expect, it } from 'vitest'
import { check } from '../../chaos/check'
import type { Evidence, KnownRecord, MemberEnd } from '../../chaos/evidence'
import type { Line } from '../../chaos/journal'
import { schedule } from '../../chaos/schedule'
import type { Incident } from '../../chaos/stage'
import type { Work } from '../../chaos/workload'

/** A record of `orders`, in partition 0, whose offset is its number. */
function order(number: number, work: Partial<Work> = {}): KnownRecord {
  const whole: Work = { id: `orders-${number}`, ms: 0, failures: 0, hopeless: false, ...work }
  return { topic: 'orders', partition: 0, offset: number, key: 'key', value: JSON.stringify(whole), work: whole }
}

const at = { topic: 'orders', partition: 0 }
const end = (member: string, more: Partial<MemberEnd> = {}): MemberEnd => ({
  member,
  time: 1_000,
  code: 0,
  signal: null,
  ...more,
})
const step = (time: number, member: string, what: 'begun' | 'acked' | 'failed', offset: number, attempt = 1): Line => ({
  time,
  member,
  what,
  id: `orders-${offset}`,
  attempt,
  ...at,
  offset,
})
const event = (
  time: number,
  member: string,
  what: 'assigned' | 'giving-up' | 'kept' | 'revoked' | 'lost' | 'committed' | 'retried',
  offset: number,
): Line => ({
  time,
  member,
  what,
  ...at,
  offset,
})

/** `a` handles two records of one key, and leaves. */
const quiet: Evidence = {
  acknowledged: new Map([['orders-0', { ...at, offset: 0 }]]),
  records: [order(0), order(1)],
  retried: [],
  dead: [],
  lines: [
    event(0, 'a', 'assigned', 0),
    step(10, 'a', 'begun', 0),
    step(20, 'a', 'acked', 0),
    step(30, 'a', 'begun', 1),
    step(40, 'a', 'acked', 1),
    event(50, 'a', 'committed', 2),
    { time: 900, member: 'a', what: 'closing' },
    event(910, 'a', 'revoked', 2),
    { time: 920, member: 'a', what: 'closed' },
  ],
  incidents: [],
  progress: [{ ...at, offset: 2, end: 2 }],
  ends: [end('a')],
  overdue: [],
}

const without = (what: Line['what'], offset: number) =>
  quiet.lines.filter(line => !(line.what === what && 'offset' in line && line.offset === offset))
const inTime = (lines: Line[]) => lines.sort((one, other) => one.time - other.time)
const violated = (evidence: Partial<Evidence>) =>
  check({ ...quiet, ...evidence }).violations.map(({ rule, text }) => `${rule}: ${text}`)

describe('the check of a chaos run', () => {
  it('finds no violation in a run without faults', () => {
    expect(violated({})).toEqual([])
    expect(check(quiet)).toMatchObject({ published: 2, acked: 2, settlements: 2, deadLettered: 0 })
  })

  it('finds a record that was never settled', () => {
    expect(violated({ lines: without('acked', 1) })).toEqual([
      'every record is settled, or dead-lettered: orders-1, at orders-0@1, was never acked',
    ])
  })

  it('finds a missing dead letter, and a dead letter of a record that can succeed', () => {
    expect(violated({ records: [order(0), order(1, { failures: 9 })], lines: without('acked', 1) })).toEqual([
      'every record is settled, or dead-lettered: orders-1, at orders-0@1, should have a dead letter, but has none',
    ])
    expect(violated({ dead: [order(1)], lines: inTime([...quiet.lines, step(38, 'a', 'failed', 1)]) })).toContain(
      'every record is settled, or dead-lettered: orders-1 has a dead letter, although it fails only 0 times',
    )
  })

  it('finds an ack of a record that cannot succeed', () => {
    expect(violated({ records: [order(0), order(1, { failures: 9 })], dead: [order(1, { failures: 9 })] })).toContain(
      'every record is settled, or dead-lettered: orders-1 was acked, although it cannot succeed',
    )
  })

  it('finds a retry that got lost between its failure and the retry topic', () => {
    const lines = inTime([...without('acked', 1), step(40, 'a', 'failed', 1)])
    expect(violated({ records: [order(0), order(1, { failures: 1 })], lines })).toEqual([
      'every record is settled, or dead-lettered: orders-1, at orders-0@1, was never acked',
    ])
  })

  it('finds a record at another place than Kafka acknowledged', () => {
    expect(violated({ acknowledged: new Map([['orders-0', { ...at, offset: 1 }]]) })).toEqual([
      'Kafka keeps what it acknowledged: orders-0 is at orders-0@0, not at orders-0@1',
    ])
  })

  it('finds a copy that differs from its record, on the retry topic and on the DLQ topic', () => {
    const failing = order(1, { failures: 9 })
    const records = [order(0), failing]
    const lines = inTime([...without('acked', 1), step(40, 'a', 'failed', 1)])
    const copy = (more: Partial<KnownRecord>): KnownRecord => ({ ...failing, topic: 'copies', offset: 7, ...more })
    for (const topic of ['retried', 'dead'] as const) {
      const evidence = { records, lines, dead: [copy({})] }
      expect(violated(evidence)).toEqual([])
      for (const spoilt of [copy({ key: 'another' }), copy({ value: '{}' })]) {
        expect(violated({ ...evidence, [topic]: [spoilt] })).toEqual([
          'a copy equals its record: the copy at copies-0@7 differs from its record',
        ])
      }
    }
  })

  it('finds a second dead letter of one failure, unless a broker was away', () => {
    const failing = order(1, { failures: 9 })
    const evidence: Partial<Evidence> = {
      records: [order(0), failing],
      lines: inTime([...without('acked', 1), step(40, 'a', 'failed', 1)]),
      dead: [failing, failing],
    }
    expect(violated(evidence)).toEqual([
      'a failed record has one dead letter: orders-1 has 2 dead letters, but its last attempt failed 1 times',
    ])
    const away: Incident = { kind: 'broker', target: '1', from: 30, until: 60 }
    expect(violated({ ...evidence, incidents: [away] })).toEqual([])
  })

  it('finds too many attempts, and a skipped attempt', () => {
    const attempts = (...numbers: number[]) => {
      const lines = numbers.map(attempt => step(25 + 3_000 * attempt, 'a', 'begun', 0, attempt))
      return violated({ lines: inTime([...quiet.lines, ...lines]) }).filter(text => text.startsWith('a retry'))
    }
    expect(attempts(2, 3)).toEqual([])
    expect(attempts(2, 3, 4)).toEqual(['a retry is never early: orders-0 had 4 attempts'])
    expect(attempts(3)).toEqual([
      'a retry is never early: attempt 3 of orders-0 began -Infinity ms after the failure, not 1500',
    ])
  })

  it('finds an acknowledged record that is not in the log', () => {
    expect(violated({ acknowledged: new Map([['orders-5', { ...at, offset: 5 }]]) })).toEqual([
      'Kafka keeps what it acknowledged: orders-5 was acknowledged at orders-0@5, but is not there',
    ])
  })

  it('finds records of a key that are handled out of order or concurrently', () => {
    const lines = inTime([...without('begun', 1), step(15, 'a', 'begun', 1)])
    expect(violated({ lines })).toEqual([
      'records of a key, or of a partition, are handled in order: work on orders-1 began before orders-0 was settled',
      'records of a lane are handled one at a time: a handled orders-1 while it handled orders-0',
    ])
  })

  it('finds records that are redelivered to the next member in another order', () => {
    // `b` handles again what `a` had handled, in the wrong order. The first time, the order was right.
    const lines: Line[] = [
      ...without('committed', 2).filter(({ time }) => time < 60),
      event(60, 'b', 'assigned', 0),
      step(70, 'b', 'begun', 1),
      step(72, 'b', 'acked', 1),
      step(74, 'b', 'begun', 0),
      step(76, 'b', 'acked', 0),
      event(90, 'b', 'committed', 2),
      { time: 900, member: 'b', what: 'closing' },
    ]
    const incidents: Incident[] = [{ kind: 'kill', target: 'a', from: 50, until: 50 }]
    const ends = [end('a', { time: 50, code: null, signal: 'SIGKILL' }), end('b')]
    expect(violated({ lines, incidents, ends })).toEqual([
      'within one assignment, records of a lane are handled in order: b began orders-0 after orders-1 in one assignment',
    ])
  })

  it('finds a commit below an earlier one, except by a member that was frozen', () => {
    const lines: Line[] = [...quiet.lines, event(60, 'b', 'committed', 1)]
    expect(violated({ lines })).toEqual([
      'a position never falls back: b committed 1 of orders-0, after a had committed 2',
    ])
    const frozen: Incident = { kind: 'freeze', target: 'b', from: 45, until: 55 }
    expect(violated({ lines, incidents: [frozen] })).toEqual([])
  })

  it('finds an assignment that starts below the committed position', () => {
    const lines: Line[] = [...quiet.lines, event(930, 'b', 'assigned', 1)]
    expect(violated({ lines })).toEqual([
      'a position never falls back: b was assigned orders-0 at 1, after a had committed 2',
    ])
  })

  it('finds a partition that is not committed up to its end', () => {
    expect(violated({ progress: [{ ...at, offset: 1, end: 2 }] })).toEqual([
      'everything is committed at the end: orders-0 is committed up to 1, but its log ends at 2',
    ])
  })

  it('finds a retry that came early', () => {
    const lines = [step(25, 'a', 'failed', 0), step(100, 'a', 'begun', 0, 2), step(110, 'a', 'acked', 0, 2)]
    const late = [step(25, 'a', 'failed', 0), step(400, 'a', 'begun', 0, 2), step(410, 'a', 'acked', 0, 2)]
    const records = [order(0, { failures: 1 }), order(1)]
    const violations = (retry: Line[]) => violated({ records, lines: inTime([...without('acked', 0), ...retry]) })
    expect(violations(lines)).toEqual([
      'a retry is never early: attempt 2 of orders-0 began 90 ms after the failure, not 300',
    ])
    expect(violations(late)).toEqual([])
  })

  it('finds members that end by themselves, too late, or before their records are settled', () => {
    expect(violated({ ends: [end('a'), end('b', { code: 1 })] })).toEqual([
      'members end only when they are asked to: b ended by itself: exit code 1',
    ])
    expect(violated({ overdue: ['a'] })).toEqual([
      'members end only when they are asked to: a was asked to leave, but did not end',
    ])
    expect(violated({ ends: [end('a', { code: 3 })] })).toEqual([
      'members end only when they are asked to: a left before its records were settled',
    ])
  })

  it('finds members that crash, clients that close by themselves, and leaked records', () => {
    const rule = 'members end only when they are asked to'
    expect(violated({ ends: [end('a', { code: null, signal: 'SIGSEGV' })] })).toEqual([
      `${rule}: a failed while it left: SIGSEGV`,
    ])
    expect(violated({ lines: [...quiet.lines, { time: 930, member: 'b', what: 'closed' }] })).toEqual([
      `${rule}: the client of b closed by itself`,
    ])
    const leaked: Line = { time: 45, member: 'a', what: 'leaked', ...at, offset: 1 }
    expect(violated({ lines: inTime([...quiet.lines, leaked]) })).toEqual([`${rule}: a reported orders-0@1 as leaked`])
  })

  it('allows a member to leave before its records are settled only while a broker is away', () => {
    const leaving = { ends: [end('a', { code: 3 })] }
    const broker = (from: number): Incident => ({ kind: 'broker', target: '1', from, until: from + 10 })
    expect(violated({ ...leaving, incidents: [broker(950)] })).toEqual([])
    expect(violated({ ...leaving, incidents: [broker(2_000)] })).toHaveLength(1)
  })

  describe('explains a second settlement', () => {
    const incident = (kind: Incident['kind'], from: number, until = from): Incident => ({
      kind,
      target: kind === 'broker' ? '1' : 'a',
      from,
      until,
    })
    /** `b` is assigned the partition at 60, and handles record 1 again. */
    const again: Line[] = [
      event(60, 'b', 'assigned', 1),
      step(70, 'b', 'begun', 1),
      step(80, 'b', 'acked', 1),
      event(90, 'b', 'committed', 2),
    ]
    const untilThen = without('committed', 2).filter(({ time }) => time < 50)
    const ends = [end('a', { time: 50, code: null, signal: 'SIGKILL' }), end('b')]
    const leaving: Line = { time: 95, member: 'b', what: 'closing' }
    const twice = (lines: readonly Line[], more: Partial<Evidence>) =>
      check({ ...quiet, lines: [...untilThen, ...lines, ...again, leaving], ...more })

    it('by a kill of the first member', () => {
      const { violations, duplicates } = twice([], { ends, incidents: [incident('kill', 50)] })
      expect(violations).toEqual([])
      expect(duplicates).toMatchObject({ count: 1, explained: { killed: 1 }, oldestUncommitted: 10 })
    })

    it('by a freeze of the first member', () => {
      const lost = event(50, 'a', 'lost', 1)
      const closing: Line = { time: 95, member: 'a', what: 'closing' }
      const { violations, duplicates } = twice([lost, closing], {
        ends: [end('a'), end('b')],
        incidents: [incident('freeze', 45, 49)],
      })
      expect(violations).toEqual([])
      expect(duplicates.explained.frozen).toBe(1)
    })

    it('by a broker outage, but by no graceful leave or join', () => {
      const revoked = event(55, 'a', 'revoked', 1)
      const closing: Line = { time: 95, member: 'a', what: 'closing' }
      const graceful = { ends: [end('a'), end('b')] }
      expect(twice([revoked, closing], { ...graceful, incidents: [incident('broker', 45)] }).violations).toEqual([])
      for (const incidents of [[], [incident('leave', 50)], [incident('join', 50)]]) {
        expect(twice([revoked, closing], { ...graceful, incidents }).violations.map(({ text }) => text)).toEqual([
          'attempt 1 of orders-1 was settled by a and by b: it was settled before its partition was revoked, and there was no fault',
        ])
      }
    })

    it('by a rebalance that waited for the full rebalanceTimeout, but by no shorter one', () => {
      const graceful = { ends: [end('a', { time: 8_000 }), end('b', { time: 8_000 })] }
      const later = again.map(line => ({ ...line, time: line.time + 4_000 }))
      const closing: Line[] = ['a', 'b'].map(member => ({ time: 5_000, member, what: 'closing' }))
      for (const [givingUp, settled, explained] of [
        [100, 3_100, true],
        [100, 3_099, false],
        // The rebalance ended long before, and does not explain the next one.
        [-14_000, 3_100, false],
        [undefined, 3_100, false],
      ] as const) {
        const acked = untilThen.map(line =>
          line.what === 'acked' && line.offset === 1 ? { ...line, time: settled } : line,
        )
        const begins: Line[] = givingUp === undefined ? [] : [event(givingUp, 'a', 'giving-up', -1)]
        const lines = inTime([...acked, ...begins, event(3_500, 'a', 'revoked', 1), ...later, ...closing])
        const { violations, duplicates } = check({ ...quiet, lines, ...graceful })
        expect(violations.map(({ rule }) => rule)).toEqual(explained ? [] : ['duplicates are explained'])
        expect(duplicates.explained.outlasted).toBe(explained ? 1 : 0)
      }
    })

    it('by a rebalance that ended before the copy of a failed record was confirmed', () => {
      const graceful = { ends: [end('a', { time: 8_000 }), end('b', { time: 8_000 })] }
      const later = again.map(line => ({ ...line, time: line.time + 4_000 }))
      const closing: Line[] = ['a', 'b'].map(member => ({ time: 5_000, member, what: 'closing' }))
      for (const [copied, explained] of [
        [3_100, true],
        [undefined, true],
        [3_099, false],
      ] as const) {
        const failed = untilThen.map(line =>
          line.what === 'acked' && line.offset === 1 ? { ...line, what: 'failed' as const, time: 2_000 } : line,
        )
        const begins: Line[] = [event(100, 'a', 'giving-up', -1)]
        const copies: Line[] = copied === undefined ? [] : [event(copied, 'a', 'retried', 1)]
        const lines = inTime([...failed, ...begins, ...copies, event(3_500, 'a', 'revoked', 1), ...later, ...closing])
        const { duplicates } = check({ ...quiet, lines, ...graceful })
        expect([copied, duplicates.explained.outlasted]).toEqual([copied, explained ? 1 : 0])
      }
    })

    it('by no rebalance that ended early, kept the partition, or concerned another partition or member', () => {
      const graceful = { ends: [end('a', { time: 8_000 }), end('b', { time: 8_000 })] }
      const later = again.map(line => ({ ...line, time: line.time + 4_000 }))
      const closing: Line[] = ['a', 'b'].map(member => ({ time: 5_000, member, what: 'closing' }))
      const failed = untilThen.map(line =>
        line.what === 'acked' && line.offset === 1 ? { ...line, what: 'failed' as const } : line,
      )
      const givingUp = event(100, 'a', 'giving-up', -1)
      for (const [turns, revoked, explained] of [
        [[givingUp], 3_100, 1],
        // The copy was not confirmed, but the rebalance did not wait long enough.
        [[givingUp], 3_099, 0],
        [[givingUp, event(3_100, 'a', 'kept', -1)], 3_500, 0],
        [[{ ...givingUp, partition: 1 } as Line], 3_500, 0],
        [[{ ...givingUp, member: 'b' } as Line], 3_500, 0],
      ] as const) {
        const lines = inTime([...failed, ...turns, event(revoked, 'a', 'revoked', 1), ...later, ...closing])
        const { duplicates } = check({ ...quiet, lines, ...graceful })
        expect([turns, revoked, duplicates.explained.outlasted]).toEqual([turns, revoked, explained])
      }
    })

    it('by no fault once the record was certainly committed', () => {
      // When the record was acked, one commit may have been in flight, and one may have waited for it.
      for (const [commits, explained] of [
        [[42, 44], true],
        [[42, 44, 46], false],
      ] as const) {
        const lines = commits.map(time => event(time, 'a', 'committed', 1))
        const { violations } = twice(lines, { ends, incidents: [incident('kill', 50)] })
        expect(violations.map(({ text }) => text)).toEqual(
          explained ? [] : ['attempt 1 of orders-1 was settled by a and by b: it had been acked and committed'],
        )
      }
      // A `forgotten` event says that the commit's metadata had no room for the record.
      const forgotten: Line = { time: 43, member: 'a', what: 'forgotten', ...at, offset: 1 }
      const lines = [...[42, 44, 46].map(time => event(time, 'a', 'committed', 1)), forgotten]
      expect(twice(lines, { ends, incidents: [incident('kill', 50)] }).violations).toEqual([])
    })

    it('by a kill, unless the record had been uncommitted for longer than any rebalance', () => {
      const late = [...again.map(line => ({ ...line, time: line.time + 20_000 })), { ...leaving, time: 21_000 }]
      const lines = [...untilThen, ...late]
      const killed = [end('a', { time: 20_050, code: null, signal: 'SIGKILL' }), end('b', { time: 22_000 })]
      const evidence = { lines, ends: killed, incidents: [incident('kill', 20_050)] }
      expect(violated(evidence)).toEqual([
        'duplicates are explained: attempt 1 of orders-1 was settled by a and by b: it was not committed for 20010 ms after it was settled',
      ])
      expect(violated({ ...evidence, incidents: [...evidence.incidents, incident('broker', 10_000)] })).toEqual([])
    })

    it('by nothing if one member was not assigned the partition', () => {
      const lines = quiet.lines.concat(step(60, 'c', 'begun', 1), step(70, 'c', 'acked', 1))
      expect(violated({ lines: inTime(lines) })).toEqual([
        'duplicates are explained: attempt 1 of orders-1 was settled by a and by c: one of them was not assigned its partition',
      ])
    })

    it('by two copies, if the first one was not confirmed or an earlier attempt was repeated', () => {
      const records = [order(0), order(1, { failures: 1 })]
      const retry = (time: number, what: 'begun' | 'acked', offset: number): Line => ({
        ...{ time, member: 'a', what, id: 'orders-1', attempt: 2 },
        ...{ topic: 'chaos-retry', partition: 0, offset },
      })
      const lines = inTime([
        ...without('acked', 1),
        step(40, 'a', 'failed', 1),
        ...[retry(500, 'begun', 0), retry(510, 'acked', 0), retry(520, 'begun', 1), retry(530, 'acked', 1)],
      ])
      expect(violated({ records, lines })).toEqual([
        'duplicates are explained: attempt 2 of orders-1 was settled by a and by a: there are two copies of it',
      ])
      expect(violated({ records, lines, incidents: [incident('broker', 30, 60)] })).toEqual([])
    })

    it('by nothing within one assignment', () => {
      const lines = [...quiet.lines, step(60, 'a', 'begun', 1), step(70, 'a', 'acked', 1)]
      expect(violated({ lines })).toEqual([
        'within one assignment, records of a lane are handled in order: a began orders-1 after orders-1 in one assignment',
        'duplicates are explained: attempt 1 of orders-1 was settled by a and by a: it was delivered twice within one assignment',
      ])
    })
  })
})

describe('the schedule of a chaos run', () => {
  const options = { duration: 300_000, members: 4, brokers: 3 }

  it('depends only on its seed', () => {
    expect(schedule({ seed: 1, ...options })).toEqual(schedule({ seed: 1, ...options }))
    expect(schedule({ seed: 1, ...options })).not.toEqual(schedule({ seed: 2, ...options }))
  })

  it('has every kind of fault, each ended by the end of the run, and never two brokers away', () => {
    for (let seed = 0; seed < 50; seed++) {
      const faults = schedule({ seed, ...options })
      expect(new Set(faults.map(({ kind }) => kind)).size).toBe(6)
      expect(faults.every(({ at, lasts }) => at + lasts <= options.duration)).toBe(true)
      const brokers = faults.filter(({ kind }) => kind === 'broker')
      for (const [index, { at }] of brokers.entries()) {
        const before = brokers[index - 1]
        if (before !== undefined) expect(at).toBeGreaterThan(before.at + before.lasts)
      }
    }
  })
})
