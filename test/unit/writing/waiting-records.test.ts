import { EMPTY, map, of, throwError } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { WriteError } from '../../../src/drivers/kafka/writing/leaders'
import { type Sent, WritingWorld } from '../../fake-broker/writing-world'

const mebibyte = 1024 * 1024
const notYet = (why: string) => new WriteError(why, { cause: undefined, permanent: false, unsent: true })
const never = (why: string) => new WriteError(why, { cause: undefined, permanent: true, unsent: true })

/** What a publisher would see of a record. */
function outcome({ result, wasAbandoned }: Sent): string {
  if (wasAbandoned) return 'abandoned'
  if (result === undefined) return 'waits'
  if (result.ok) return `${result.partition}@${result.offset}`
  return `${result.error.retriable ? 'not now' : 'refused'}: ${result.error.message}`
}

const outcomes = (...sent: readonly Sent[]) => sent.map(outcome)

describe('records for a partition that is not known', () => {
  const missing =
    "refused: a record could not be written to topic 't': partition t-2 does not exist (topic has 2 partitions)"

  it('are refused after a second, and delay no other', () => {
    const world = new WritingWorld()
    const [x, a] = [world.send('x', { partition: 2 }), world.send('a')]
    world.pass(900)
    expect(outcomes(x, a)).toEqual(['waits', '0@0'])
    world.pass(300)
    const y = world.send('y', { partition: 2 })
    expect(outcomes(x, y)).toEqual([missing, 'waits'])
    world.pass(900)
    expect(outcomes(y)).toEqual(['waits'])
    world.pass(300)
    expect(outcomes(y)).toEqual([missing])
  })

  it('are written in order if brokers learn of the partition within that time', () => {
    const world = new WritingWorld({ topics: { t: 3 } })
    const counts = world.cluster.topics as Map<string, number>
    counts.set('t', 2)
    const sent = ['a', 'b'].map(value => world.send(value, { partition: 2 }))
    world.pass(500)
    counts.set('t', 3)
    world.pass(300)
    expect(outcomes(...sent)).toEqual(['2@0', '2@1'])
  })

  it('are abandoned if nobody wants them any more when a reason is reported', () => {
    const world = new WritingWorld()
    const [x, y] = [world.send('x', { partition: 2 }), world.send('y', { partition: 2 })]
    world.pass(100)
    x.wanted = false
    world.writing.unreachable('the broker is away', undefined)
    expect(outcomes(x, y)).toEqual(['abandoned', 'waits'])
    expect(y.delays.map(({ error }) => error.message)).toEqual([
      "a record could not be written to topic 't': the broker is away",
    ])
  })
})

describe.each(['partitions', 'producerId'] as const)('while brokers refuse to tell the %s, records', what => {
  it('wait, hear why, and are written in order afterwards', () => {
    const world = new WritingWorld()
    world.leaders.refusal = asked => (asked === what ? notYet('they are busy') : undefined)
    const sent = ['a', 'b', 'c'].map(value => world.send(value))
    world.pass(2_000)
    for (const { delays } of sent) {
      expect(delays.length).toBeGreaterThan(2)
      for (const { error } of delays) {
        expect(error).toMatchObject({ message: expect.stringContaining('they are busy'), retriable: true, topic: 't' })
      }
    }
    world.heal()
    expect(outcomes(...sent)).toEqual(['0@0', '0@1', '0@2'])
    expect(world.values()).toEqual(['a', 'b', 'c'])
  })

  it('are refused at once if that can never change, and later ones are tried again', () => {
    const world = new WritingWorld()
    world.leaders.refusal = asked => (asked === what ? never('the right is missing') : undefined)
    const sent = ['a', 'b'].map(value => world.send(value))
    world.pass(10)
    for (const one of sent) expect(outcome(one)).toMatch(/^refused: .*: the right is missing$/)
    world.leaders.refusal = () => undefined
    const later = world.send('c')
    world.pass(10)
    expect(outcomes(later)).toEqual(['0@0'])
  })

  it('are abandoned if nobody wants them any more', () => {
    const world = new WritingWorld()
    world.leaders.refusal = asked => (asked === what ? notYet('they are busy') : undefined)
    const [a, b] = [world.send('a'), world.send('b')]
    world.pass(100)
    a.wanted = false
    world.pass(5_000)
    expect(outcomes(a, b)).toEqual(['abandoned', 'waits'])
    world.heal()
    expect(world.values()).toEqual(['b'])
  })
})

describe('a reason that lasts is worth its own report, and not at first:', () => {
  it.each<[string, (world: WritingWorld) => void]>([
    [
      'the partitions are not told',
      world => {
        world.leaders.refusal = what => (what === 'partitions' ? notYet('busy') : undefined)
      },
    ],
    [
      'no producer id is told',
      world => {
        world.leaders.refusal = what => (what === 'producerId' ? notYet('busy') : undefined)
      },
    ],
    [
      'the leader is in doubt, and the partitions are not told any more',
      world => {
        world.send('warm')
        world.pass(100)
        world.cluster.fate = () => ({ append: false, answer: 6 })
        world.leaders.refusal = what => (what === 'partitions' ? notYet('busy') : undefined)
      },
    ],
    [
      'there is no leader',
      world => {
        world.leaders.believed = () => -1
      },
    ],
    [
      'the leader refuses',
      world => {
        world.cluster.fate = () => ({ append: false, answer: 19 })
      },
    ],
    [
      'the leader does not answer',
      world => {
        world.cluster.fate = () => ({ append: false, answer: 'silence' })
      },
    ],
  ])('%s', (_, begin) => {
    const world = new WritingWorld()
    begin(world)
    const [a, b] = [world.send('a'), world.send('b')]
    world.pass(20_000)
    for (const { delays } of [a, b]) {
      expect(delays[0]!.lasting).toBe(false)
      expect(delays.at(-1)!.lasting).toBe(true)
      const from = delays.findIndex(({ lasting }) => lasting)
      expect(delays.slice(from).every(({ lasting }) => lasting)).toBe(true)
    }
    world.heal()
    expect([a.acknowledged, b.acknowledged]).toEqual([true, true])
  })
})

describe('a partition without a leader', () => {
  const leaderless = () => {
    const world = new WritingWorld()
    world.leaders.believed = (topic, partition) => (partition === 0 ? -1 : world.cluster.leader(topic, partition))
    return world
  }

  it('delays its own records, which hear why, and are written in order when it has one', () => {
    const world = leaderless()
    const [a, b, other] = [world.send('a'), world.send('b'), world.send('c', { partition: 1 })]
    world.pass(1_000)
    expect(outcomes(a, b, other)).toEqual(['waits', 'waits', '1@0'])
    expect(a.delays[0]!.error.message).toBe('a record could not be written to t-0: it has no leader at present')
    world.heal()
    expect(outcomes(a, b)).toEqual(['0@0', '0@1'])
  })

  it('gets no record that may go to any partition, unless none has a leader', () => {
    const world = leaderless()
    const free = { partition: undefined } as never
    const sent = [1, 2, 3, 4].map(value => world.send(`${value}`, free))
    world.pass(100)
    expect(outcomes(...sent)).toEqual(['1@0', '1@1', '1@2', '1@3'])
    const none = new WritingWorld()
    none.leaders.believed = () => -1
    const waiting = none.send('5', free)
    none.pass(1_000)
    expect(outcomes(waiting)).toEqual(['waits'])
    none.heal()
    expect(waiting.acknowledged).toBe(true)
  })
})

describe('the partitions of a topic', () => {
  it('are asked for again after a minute, and no record waits for that', () => {
    const world = new WritingWorld()
    let asked = 0
    world.leaders.refusal = what => {
      if (what === 'partitions') asked++
      return undefined
    }
    for (const value of ['a', 'b']) {
      world.send(value)
      world.pass(30_000)
    }
    expect(asked).toBe(1)
    world.pass(10)
    world.leaders.refusal = what => {
      if (what === 'partitions') asked++
      return what === 'partitions' ? notYet('they are busy') : undefined
    }
    const c = world.send('c')
    world.pass(10)
    expect([asked, outcome(c)]).toEqual([2, '0@2'])
  })

  it.each([
    ['the same topic', 'id', ['a', 'b', 'c']],
    ['a topic made again', 'another id', []],
  ] as const)('are not fewer because one broker is behind (%s)', (_, idAfter, before) => {
    const world = new WritingWorld({ topics: { t: 8 } })
    const whole = world.leaders.partitions.bind(world.leaders)
    let [topicId, count] = ['id' as string, 8]
    world.leaders.partitions = topic =>
      whole(topic).pipe(
        map(({ partitions }) => ({ topicId: topicId as never, partitions: partitions.slice(0, count) })),
      )
    const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
    const partitionsOf = () => {
      const sent = keys.map(key => world.send(key, { key, partition: undefined } as never))
      world.pass(100)
      return sent.map(({ result }) => (result?.ok === true ? result.partition : -1))
    }
    const first = partitionsOf()
    ;[topicId, count] = [idAfter, 2]
    world.send('x')
    world.pass(61_000)
    world.send('y')
    world.pass(100)
    const next = partitionsOf()
    if (before.length > 0) expect(next).toEqual(first)
    else expect(Math.max(...next)).toBeLessThan(2)
    expect(Math.max(...first)).toBeGreaterThan(1)
  })
})

describe('a record that cannot be sent', () => {
  it('is refused alone if its key is none', () => {
    const world = new WritingWorld()
    const sent = [world.send('a'), world.send('b', { key: 5, partition: undefined } as never), world.send('c')]
    world.pass(100)
    expect(outcomes(...sent)).toEqual([
      '0@0',
      'refused: a record could not be written to t-1: key must be a Buffer, a string or null (got 5)',
      '0@1',
    ])
  })

  it('is refused alone if a leader refuses a batch because of it', () => {
    const world = new WritingWorld()
    const big = 'x'.repeat(1_000)
    world.cluster.fate = ({ batch }) => (batch.values.includes(big) ? { append: false, answer: 10 } : { append: true })
    const sent = ['a', 'b', 'c', big, 'd', 'e', 'f'].map(value => world.send(value))
    world.pass(1_000)
    expect(sent.map(({ acknowledged }) => acknowledged)).toEqual([true, true, true, false, true, true, true])
    expect(outcome(sent[3]!)).toContain('refused: a record could not be written to t-0: MESSAGE_TOO_LARGE (10)')
    expect(world.values()).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
  })
})

describe('batches', () => {
  it('of one leader go in one request, up to 16 MiB', () => {
    const world = new WritingWorld({ nodes: 1, topics: { t: 4 } })
    const requests: number[] = []
    const produce = world.leaders.produce.bind(world.leaders)
    world.leaders.produce = (node, batches) => {
      requests.push(batches.length)
      return produce(node, batches)
    }
    const sent = [0, 1, 2, 3].map(partition => world.send('v', { partition, value: Buffer.alloc(5 * mebibyte) }))
    world.pass(100)
    expect(requests).toEqual([3, 1])
    expect(sent.every(({ acknowledged }) => acknowledged)).toBe(true)
  })

  it('have one compressed record, or records that are not compressed', () => {
    const world = new WritingWorld()
    const sent = ['a', 'b'].map(value => world.send(value))
    sent.push(world.send('c', { compression: 'gzip' } as never), world.send('d', { compression: 'gzip' } as never))
    sent.push(world.send('e'))
    world.pass(1_000)
    expect(world.cluster.arrived.map(({ batch }) => batch.count)).toEqual([2, 1, 1, 1])
    expect(outcomes(...sent)).toEqual(['0@0', '0@1', '0@2', '0@3', '0@4'])
  })
})

describe('an answer', () => {
  it.each([
    ['without an entry for a batch', () => of([]), 'the broker did not answer for it'],
    ['that is none', () => EMPTY, 'the broker did not answer for it'],
    ['without an offset', () => of([{ topic: 't', partition: 0, errorCode: 0, baseOffset: -1n }]), 'without an offset'],
    ['that fails in another way', () => throwError(() => new Error('it is no answer')), 'it is no answer'],
  ] as const)('%s counts as none: the batch is sent again, and written once', (_, answer, why) => {
    const world = new WritingWorld()
    const produce = world.leaders.produce.bind(world.leaders)
    world.leaders.produce = (node, batches) => {
      produce(node, batches).subscribe()
      return answer()
    }
    const a = world.send('a')
    world.pass(100)
    expect(a.delays[0]!.error.message).toContain(why)
    expect(a.endedAt).toBeUndefined()
    // Something of the batch may be in the log, so it is not made smaller.
    const b = world.send('b')
    world.leaders.produce = produce
    world.heal()
    expect(outcomes(a, b)).toEqual(['0@0', '0@1'])
    expect(world.values()).toEqual(['a', 'b'])
  })

  it('belongs to its partition, in whatever order a broker answers', () => {
    const world = new WritingWorld({ nodes: 1, topics: { t: 3 } })
    const produce = world.leaders.produce.bind(world.leaders)
    world.leaders.produce = (node, batches) => produce(node, batches).pipe(map(answers => [...answers].reverse()))
    world.send('x', { partition: 2 })
    world.pass(10)
    const sent = [0, 1, 2].map(partition => world.send(`${partition}`, { partition }))
    world.pass(10)
    expect(outcomes(...sent)).toEqual(['0@0', '1@0', '2@1'])
  })

  it('that refuses for good retires an identity under which a record may be in the log', () => {
    const world = new WritingWorld()
    const fates = [
      { append: true, answer: 20 },
      { append: false, answer: 29 },
    ]
    world.cluster.fate = () => fates.shift() ?? { append: true }
    const a = world.send('a')
    world.pass(1_000)
    expect(outcome(a)).toMatch(/^refused: .*TOPIC_AUTHORIZATION_FAILED/)
    const b = world.send('b')
    world.pass(100)
    expect(outcomes(b)).toEqual(['0@1'])
    expect(world.values()).toEqual(['a', 'b'])
    expect(world.cluster.log('t', 0).batches.map(({ epoch }) => epoch)).toEqual([0, 1])
  })
})

describe('the end of writing', () => {
  const held = { append: false, answer: 19 } as const
  const places: Record<string, (world: WritingWorld) => void> = {
    'the partitions of its topic': world => {
      world.leaders.refusal = what => (what === 'partitions' ? notYet('busy') : undefined)
    },
    'the first answer about its topic': world => {
      world.leaders.partitions = () => new WritingWorld().leaders.partitions('t')
    },
    'a producer id': world => {
      world.leaders.refusal = what => (what === 'producerId' ? notYet('busy') : undefined)
    },
    'an answer': world => {
      world.cluster.fate = () => ({ append: true, answer: 'silence' })
    },
    'the next attempt': world => {
      world.cluster.fate = () => held
    },
    'a leader': world => {
      world.leaders.believed = () => -1
    },
  }

  it.each(Object.keys(places))('answers each record that waits for %s, once, and sends nothing more', place => {
    const world = new WritingWorld()
    places[place]!(world)
    const sent = ['a', 'b', 'c'].map(value => world.send(value))
    sent.push(world.send('d', { partition: 5 }), world.send('e', { compression: 'gzip' } as never))
    world.pass(100)
    sent[1]!.wanted = false
    world.writing.end('the driver is closed')
    for (const one of sent) {
      if (one !== sent[1])
        expect(outcome(one)).toMatch(/^not now: a record could not be written to .*: the driver is closed$/)
      else if (one.endedAt !== undefined) expect(one.wasAbandoned || one.acknowledged).toBe(true)
    }
    const { length } = world.cluster.arrived
    world.heal()
    expect(world.cluster.arrived).toHaveLength(length)
    expect(sent.every(({ endedAt }) => endedAt !== undefined)).toBe(true)
  })
})
