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
const told = (
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

/** Two records of one key, which `a` works on one after the other, and then leaves. */
const quiet: Evidence = {
  acknowledged: new Map([['orders-0', { ...at, offset: 0 }]]),
  records: [order(0), order(1)],
  retried: [],
  dead: [],
  lines: [
    told(0, 'a', 'assigned', 0),
    step(10, 'a', 'begun', 0),
    step(20, 'a', 'acked', 0),
    step(30, 'a', 'begun', 1),
    step(40, 'a', 'acked', 1),
    told(50, 'a', 'committed', 2),
    { time: 900, member: 'a', what: 'closing' },
    told(910, 'a', 'revoked', 2),
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
  it('finds nothing where nothing went wrong', () => {
    expect(violated({})).toEqual([])
    expect(check(quiet)).toMatchObject({ published: 2, acked: 2, settlements: 2, deadLettered: 0 })
  })

  it('finds a record that nobody settled', () => {
    expect(violated({ lines: without('acked', 1) })).toEqual([
      'every record is settled, or dead-lettered: orders-1, at orders/0@1, was never acked',
    ])
  })

  it('finds a record that should be on the DLQ topic, and one that should not', () => {
    expect(violated({ records: [order(0), order(1, { failures: 9 })], lines: without('acked', 1) })).toEqual([
      'every record is settled, or dead-lettered: orders-1, at orders/0@1, is to be dead-lettered, and is not',
    ])
    expect(violated({ dead: [order(1)], lines: inTime([...quiet.lines, step(38, 'a', 'failed', 1)]) })).toContain(
      'every record is settled, or dead-lettered: orders-1 is on the DLQ topic, though it fails 0 times',
    )
  })

  it('finds a record that was acked although it cannot succeed', () => {
    expect(violated({ records: [order(0), order(1, { failures: 9 })], dead: [order(1, { failures: 9 })] })).toContain(
      'every record is settled, or dead-lettered: orders-1 was acked, though it cannot succeed',
    )
  })

  it('finds a retry that got lost between its failure and the retry topic', () => {
    const lines = inTime([...without('acked', 1), step(40, 'a', 'failed', 1)])
    expect(violated({ records: [order(0), order(1, { failures: 1 })], lines })).toEqual([
      'every record is settled, or dead-lettered: orders-1, at orders/0@1, was never acked',
    ])
  })

  it('finds what Kafka has elsewhere than it said', () => {
    expect(violated({ acknowledged: new Map([['orders-0', { ...at, offset: 1 }]]) })).toEqual([
      'Kafka keeps what it acknowledged: orders-0 is at orders/0@0, not at orders/0@1',
    ])
  })

  it('finds a copy that is not the record, on the retry topic and on the DLQ topic', () => {
    const failing = order(1, { failures: 9 })
    const records = [order(0), failing]
    const lines = inTime([...without('acked', 1), step(40, 'a', 'failed', 1)])
    const copy = (more: Partial<KnownRecord>): KnownRecord => ({ ...failing, topic: 'copies', offset: 7, ...more })
    for (const topic of ['retried', 'dead'] as const) {
      const evidence = { records, lines, dead: [copy({})] }
      expect(violated(evidence)).toEqual([])
      for (const spoilt of [copy({ key: 'another' }), copy({ value: '{}' })]) {
        expect(violated({ ...evidence, [topic]: [spoilt] })).toEqual([
          'a copy is the record: the copy at copies/0@7 is not the record',
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
      'one failure, one dead letter: orders-1 has 2 dead letters, and failed for good 1 times',
    ])
    const away: Incident = { kind: 'broker', target: '1', from: 30, until: 60 }
    expect(violated({ ...evidence, incidents: [away] })).toEqual([])
  })

  it('finds more attempts than there may be, and one that is left out', () => {
    const attempts = (...numbers: number[]) => {
      const lines = numbers.map(attempt => step(25 + 3_000 * attempt, 'a', 'begun', 0, attempt))
      return violated({ lines: inTime([...quiet.lines, ...lines]) }).filter(text => text.startsWith('a retry'))
    }
    expect(attempts(2, 3)).toEqual([])
    expect(attempts(2, 3, 4)).toEqual(['a retry is never early: orders-0 had 4 attempts'])
    expect(attempts(3)).toEqual([
      'a retry is never early: attempt 3 of orders-0 came -Infinity ms after it failed, not 1500',
    ])
  })

  it('finds what Kafka lost', () => {
    expect(violated({ acknowledged: new Map([['orders-5', { ...at, offset: 5 }]]) })).toEqual([
      'Kafka keeps what it acknowledged: orders-5 was acknowledged at orders/0@5, and is not there',
    ])
  })

  it('finds records of a key out of order, and side by side', () => {
    const lines = inTime([...without('begun', 1), step(15, 'a', 'begun', 1)])
    expect(violated({ lines })).toEqual([
      'records of a key, or of a partition, are worked on in order: work on orders-1 began before orders-0 was settled',
      'one at a time: a worked on orders-1 while it worked on orders-0',
    ])
  })

  it('finds records that are given to the next member in another order', () => {
    // What a had done is done again by b, the last first: for the first time all of it was in order.
    const lines: Line[] = [
      ...without('committed', 2).filter(({ time }) => time < 60),
      told(60, 'b', 'assigned', 0),
      step(70, 'b', 'begun', 1),
      step(72, 'b', 'acked', 1),
      step(74, 'b', 'begun', 0),
      step(76, 'b', 'acked', 0),
      told(90, 'b', 'committed', 2),
      { time: 900, member: 'b', what: 'closing' },
    ]
    const incidents: Incident[] = [{ kind: 'kill', target: 'a', from: 50, until: 50 }]
    const ends = [end('a', { time: 50, code: null, signal: 'SIGKILL' }), end('b')]
    expect(violated({ lines, incidents, ends })).toEqual([
      'who takes over goes through a lane in order: b began orders-0 after orders-1, in one assignment',
    ])
  })

  it('finds a commit of less than was committed, but for one who stood still meanwhile', () => {
    const lines: Line[] = [...quiet.lines, told(60, 'b', 'committed', 1)]
    expect(violated({ lines })).toEqual([
      'a position never falls back: b committed 1 of orders/0, after a had committed 2',
    ])
    const frozen: Incident = { kind: 'freeze', target: 'b', from: 45, until: 55 }
    expect(violated({ lines, incidents: [frozen] })).toEqual([])
  })

  it('finds a position that fell back', () => {
    const lines: Line[] = [...quiet.lines, told(930, 'b', 'assigned', 1)]
    expect(violated({ lines })).toEqual([
      'a position never falls back: b took up orders/0 at 1, after a had committed 2',
    ])
  })

  it('finds a position that is not the end of the log', () => {
    expect(violated({ progress: [{ ...at, offset: 1, end: 2 }] })).toEqual([
      'what is committed is the end of the log: orders/0 is committed up to 1, and its log ends at 2',
    ])
  })

  it('finds a retry that came early', () => {
    const lines = [step(25, 'a', 'failed', 0), step(100, 'a', 'begun', 0, 2), step(110, 'a', 'acked', 0, 2)]
    const late = [step(25, 'a', 'failed', 0), step(400, 'a', 'begun', 0, 2), step(410, 'a', 'acked', 0, 2)]
    const records = [order(0, { failures: 1 }), order(1)]
    const violations = (retry: Line[]) => violated({ records, lines: inTime([...without('acked', 0), ...retry]) })
    expect(violations(lines)).toEqual([
      'a retry is never early: attempt 2 of orders-0 came 90 ms after it failed, not 300',
    ])
    expect(violations(late)).toEqual([])
  })

  it('finds members that end by themselves, or too late, or before their work is done', () => {
    expect(violated({ ends: [end('a'), end('b', { code: 1 })] })).toEqual([
      'members end when they are told to, and not otherwise: b ended by itself: exit code 1',
    ])
    expect(violated({ overdue: ['a'] })).toEqual([
      'members end when they are told to, and not otherwise: a was told to leave, and did not end',
    ])
    expect(violated({ ends: [end('a', { code: 3 })] })).toEqual([
      'members end when they are told to, and not otherwise: a left before its work was done',
    ])
  })

  it('finds members that end badly, clients that close by themselves, and records that leak', () => {
    const rule = 'members end when they are told to, and not otherwise'
    expect(violated({ ends: [end('a', { code: null, signal: 'SIGSEGV' })] })).toEqual([
      `${rule}: a left badly: SIGSEGV`,
    ])
    expect(violated({ lines: [...quiet.lines, { time: 930, member: 'b', what: 'closed' }] })).toEqual([
      `${rule}: the client of b closed by itself`,
    ])
    const leaked: Line = { time: 45, member: 'a', what: 'leaked', ...at, offset: 1 }
    expect(violated({ lines: inTime([...quiet.lines, leaked]) })).toEqual([`${rule}: a says that orders/0@1 leaked`])
  })

  it('lets a member leave before its work is done only while a broker is away', () => {
    const leaving = { ends: [end('a', { code: 3 })] }
    const broker = (from: number): Incident => ({ kind: 'broker', target: '1', from, until: from + 10 })
    expect(violated({ ...leaving, incidents: [broker(950)] })).toEqual([])
    expect(violated({ ...leaving, incidents: [broker(2_000)] })).toHaveLength(1)
  })

  describe('explains what was settled twice', () => {
    const incident = (kind: Incident['kind'], from: number, until = from): Incident => ({
      kind,
      target: kind === 'broker' ? '1' : 'a',
      from,
      until,
    })
    /** Record 1 again, by `b`, who takes over at 60. */
    const again: Line[] = [
      told(60, 'b', 'assigned', 1),
      step(70, 'b', 'begun', 1),
      step(80, 'b', 'acked', 1),
      told(90, 'b', 'committed', 2),
    ]
    const untilThen = without('committed', 2).filter(({ time }) => time < 50)
    const ends = [end('a', { time: 50, code: null, signal: 'SIGKILL' }), end('b')]
    const leaving: Line = { time: 95, member: 'b', what: 'closing' }
    const twice = (lines: readonly Line[], more: Partial<Evidence>) =>
      check({ ...quiet, lines: [...untilThen, ...lines, ...again, leaving], ...more })

    it('by the kill of who had settled it', () => {
      const { violations, duplicates } = twice([], { ends, incidents: [incident('kill', 50)] })
      expect(violations).toEqual([])
      expect(duplicates).toMatchObject({ count: 1, explained: { killed: 1 }, oldestUncommitted: 10 })
    })

    it('by a freeze of who had settled it', () => {
      const lost = told(50, 'a', 'lost', 1)
      const closing: Line = { time: 95, member: 'a', what: 'closing' }
      const { violations, duplicates } = twice([lost, closing], {
        ends: [end('a'), end('b')],
        incidents: [incident('freeze', 45, 49)],
      })
      expect(violations).toEqual([])
      expect(duplicates.explained.frozen).toBe(1)
    })

    it('by a broker that was away, and by nothing else that is graceful', () => {
      const revoked = told(55, 'a', 'revoked', 1)
      const closing: Line = { time: 95, member: 'a', what: 'closing' }
      const graceful = { ends: [end('a'), end('b')] }
      expect(twice([revoked, closing], { ...graceful, incidents: [incident('broker', 45)] }).violations).toEqual([])
      for (const incidents of [[], [incident('leave', 50)], [incident('join', 50)]]) {
        expect(twice([revoked, closing], { ...graceful, incidents }).violations.map(({ text }) => text)).toEqual([
          'attempt 1 of orders-1 was settled by a and by b: it was settled, and then its partition was revoked, without a fault',
        ])
      }
    })

    it('by a rebalance that had waited for it long enough, and by no shorter one', () => {
      const graceful = { ends: [end('a', { time: 8_000 }), end('b', { time: 8_000 })] }
      const later = again.map(line => ({ ...line, time: line.time + 4_000 }))
      const closing: Line[] = ['a', 'b'].map(member => ({ time: 5_000, member, what: 'closing' }))
      for (const [givingUp, settled, explained] of [
        [100, 3_100, true],
        [100, 3_099, false],
        // It was over long ago: a rebalance is no excuse for the next.
        [-14_000, 3_100, false],
        [undefined, 3_100, false],
      ] as const) {
        const acked = untilThen.map(line =>
          line.what === 'acked' && line.offset === 1 ? { ...line, time: settled } : line,
        )
        const begins: Line[] = givingUp === undefined ? [] : [told(givingUp, 'a', 'giving-up', -1)]
        const lines = inTime([...acked, ...begins, told(3_500, 'a', 'revoked', 1), ...later, ...closing])
        const { violations, duplicates } = check({ ...quiet, lines, ...graceful })
        expect(violations.map(({ rule }) => rule)).toEqual(explained ? [] : ['duplicates are explained'])
        expect(duplicates.explained.outlasted).toBe(explained ? 1 : 0)
      }
    })

    it('by a rebalance that did not wait for the copy of what had failed, and by none that had it', () => {
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
        const begins: Line[] = [told(100, 'a', 'giving-up', -1)]
        const copies: Line[] = copied === undefined ? [] : [told(copied, 'a', 'retried', 1)]
        const lines = inTime([...failed, ...begins, ...copies, told(3_500, 'a', 'revoked', 1), ...later, ...closing])
        const { duplicates } = check({ ...quiet, lines, ...graceful })
        expect([copied, duplicates.explained.outlasted]).toEqual([copied, explained ? 1 : 0])
      }
    })

    it('by no rebalance that ended before its time, that kept the partition, or that was of another', () => {
      const graceful = { ends: [end('a', { time: 8_000 }), end('b', { time: 8_000 })] }
      const later = again.map(line => ({ ...line, time: line.time + 4_000 }))
      const closing: Line[] = ['a', 'b'].map(member => ({ time: 5_000, member, what: 'closing' }))
      const failed = untilThen.map(line =>
        line.what === 'acked' && line.offset === 1 ? { ...line, what: 'failed' as const } : line,
      )
      const givingUp = told(100, 'a', 'giving-up', -1)
      for (const [turns, revoked, explained] of [
        [[givingUp], 3_100, 1],
        // Its copy was not confirmed, and it was not waited for either.
        [[givingUp], 3_099, 0],
        [[givingUp, told(3_100, 'a', 'kept', -1)], 3_500, 0],
        [[{ ...givingUp, partition: 1 } as Line], 3_500, 0],
        [[{ ...givingUp, member: 'b' } as Line], 3_500, 0],
      ] as const) {
        const lines = inTime([...failed, ...turns, told(revoked, 'a', 'revoked', 1), ...later, ...closing])
        const { duplicates } = check({ ...quiet, lines, ...graceful })
        expect([turns, revoked, duplicates.explained.outlasted]).toEqual([turns, revoked, explained])
      }
    })

    it('by no fault, once it was committed for sure', () => {
      // One commit may have been under way when it was acked, and one waited for that.
      for (const [commits, explained] of [
        [[42, 44], true],
        [[42, 44, 46], false],
      ] as const) {
        const lines = commits.map(time => told(time, 'a', 'committed', 1))
        const { violations } = twice(lines, { ends, incidents: [incident('kill', 50)] })
        expect(violations.map(({ text }) => text)).toEqual(
          explained ? [] : ['attempt 1 of orders-1 was settled by a and by b: it had been acked, and committed'],
        )
      }
      // Unless there was no room for it beside the position, which the client tells.
      const forgotten: Line = { time: 43, member: 'a', what: 'forgotten', ...at, offset: 1 }
      const lines = [...[42, 44, 46].map(time => told(time, 'a', 'committed', 1)), forgotten]
      expect(twice(lines, { ends, incidents: [incident('kill', 50)] }).violations).toEqual([])
    })

    it('by a kill, but not of what nobody had committed for longer than any rebalance', () => {
      const late = [...again.map(line => ({ ...line, time: line.time + 20_000 })), { ...leaving, time: 21_000 }]
      const lines = [...untilThen, ...late]
      const killed = [end('a', { time: 20_050, code: null, signal: 'SIGKILL' }), end('b', { time: 22_000 })]
      const evidence = { lines, ends: killed, incidents: [incident('kill', 20_050)] }
      expect(violated(evidence)).toEqual([
        'duplicates are explained: attempt 1 of orders-1 was settled by a and by b: it had been settled for 20010 ms, and not been committed',
      ])
      expect(violated({ ...evidence, incidents: [...evidence.incidents, incident('broker', 10_000)] })).toEqual([])
    })

    it('never by who did not hold its partition', () => {
      const lines = quiet.lines.concat(step(60, 'c', 'begun', 1), step(70, 'c', 'acked', 1))
      expect(violated({ lines: inTime(lines) })).toEqual([
        'duplicates are explained: attempt 1 of orders-1 was settled by a and by c: one of them did not hold its partition',
      ])
    })

    it('by two copies, where the first was not confirmed or an earlier attempt was repeated, and not otherwise', () => {
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

    it('never within one assignment', () => {
      const lines = [...quiet.lines, step(60, 'a', 'begun', 1), step(70, 'a', 'acked', 1)]
      expect(violated({ lines })).toEqual([
        'who takes over goes through a lane in order: a began orders-1 after orders-1, in one assignment',
        'duplicates are explained: attempt 1 of orders-1 was settled by a and by a: it was delivered twice within one assignment',
      ])
    })
  })
})

describe('the schedule of a chaos run', () => {
  const options = { duration: 300_000, members: 4, brokers: 3 }

  it('is decided by its seed', () => {
    expect(schedule({ seed: 1, ...options })).toEqual(schedule({ seed: 1, ...options }))
    expect(schedule({ seed: 1, ...options })).not.toEqual(schedule({ seed: 2, ...options }))
  })

  it('has every kind of fault, each over by the end, and never two brokers away', () => {
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
