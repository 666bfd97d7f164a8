import { bufferTime, delay, filter, interval, map, mergeMap, of, retry, tap, throwError, timer } from 'rxjs'
import {
  type Client,
  CommitError,
  type ConsumeRecord,
  createClient,
  type Driver,
  discard,
  fixed,
  handle,
  PublishError,
  UnroutableFailureError,
} from 'rxmika'
import { type MarbleHelpers, memoryBroker, runMarbles } from 'rxmika/testing'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

/** Runs a test that must fail, and returns the message of its error. */
function messageOf(test: Parameters<typeof runMarbles>[0], options = {}): string {
  try {
    runMarbles(test as (helpers: MarbleHelpers) => void, options)
  } catch (error) {
    return (error as Error).message
  }
  return 'it passed'
}

describe('runMarbles: records in, deliveries and commits out', () => {
  it('delivers and commits in the frame of the record and of its ack', () =>
    runMarbles(({ createClient, records, expectDeliveries, expectCommits }) => {
      createClient()
        .topic('orders')
        .pipe(
          delay(3),
          tap(record => record.ack()),
        )
        .subscribe()
      records('orders', '              a-b-----')
      expectDeliveries('orders').toBe('a-b-----')
      expectCommits('orders').toBe('   ---1-2--')
    }))

  it('has a diagram for each partition, or one for all', () =>
    runMarbles(({ createClient, records, expectCommits, expectDeliveries }) => {
      createClient()
        .topic('orders')
        .pipe(handle(() => timer(2)))
        .subscribe()
      records('orders', ['              a--b---', '-cd----'])
      expectDeliveries('orders').toBe(' acdb---')
      expectDeliveries('orders').toBe(['a--b', '-cd'])
      expectCommits('orders').toBe(['   --1--2-', '---1-2-'])
    }))

  it('expects nothing of partitions without a diagram', () => {
    const message = messageOf(({ createClient, records, expectDeliveries }) => {
      createClient().topic('orders').subscribe()
      records('orders', ['              a', '-b'])
      expectDeliveries('orders').toBe(['a'])
    })
    expect(message).toMatch('deliveries of orders-1, frame 1: expected nothing, and b came')
  })

  it('identifies records by letter, whatever their content is, and shows the content', () => {
    const test = (expected: string) =>
      messageOf(({ createClient, records, expectDeliveries }) => {
        const orders = createClient().topic('orders', { decode: bytes => JSON.parse(String(bytes)) })
        orders.pipe(filter(({ value }) => value.amount > 1)).subscribe()
        records('orders', 'ab', { a: '{"amount":1}', b: { key: 'k', value: '{"amount":2}' } })
        expectDeliveries('orders').toBe(expected)
      })
    expect(test('ab')).toBe('it passed')
    expect(test('-b')).toMatch(`  b  orders-0@1, key 'k', value '{"amount":2}'`)
  })

  it.each(['1s', '2m'])('plays %s at once', time =>
    runMarbles(({ createClient, records, expectCommits }) => {
      createClient()
        .topic('orders')
        .pipe(
          delay(time === '1s' ? 1_000 : 120_000),
          tap(record => record.ack()),
        )
        .subscribe()
      records('orders', '          a')
      expectCommits('orders').toBe(`${time} 1`)
    }),
  )

  it('takes as long as its requests', () =>
    runMarbles(
      ({ createClient, broker, expectDeliveries, expectCommits }) => {
        broker.publish('orders', { value: 'a' })
        createClient()
          .topic('orders')
          .pipe(handle(() => {}))
          .subscribe()
        // Two ms each: connecting, topics, joining, the rebalance, the fetch, and then the commit.
        expectDeliveries('orders').toBe('----------a')
        expectCommits('orders').toBe('   ------------1')
      },
      { latency: 2 },
    ))

  it('runs bufferTime, mergeMap, retry and interval unchanged', () =>
    runMarbles(({ createClient, records, expectDeliveries, expectCommits, expectObservable }) => {
      const orders = createClient().topic('orders')
      let failures = 1
      orders
        .pipe(
          mergeMap(record => (failures-- > 0 ? throwError(() => new Error('once')) : of(record))),
          retry({ delay: 2 }),
          bufferTime(5),
          filter(batch => batch.length > 0),
          handle(() => {}),
        )
        .subscribe()
      records('orders', '                               a-b')
      expectDeliveries('orders').toBe('                 a-(ab)')
      expectCommits('orders').toBe('                    -----2')
      expectObservable(interval(3), '--^------!').toBe('-----0--1', { 0: 0, 1: 1 })
    }))

  it('has RxJS’s cold, hot, time, expectObservable, expectSubscriptions and flush', () =>
    runMarbles(({ createClient, records, cold, hot, time, flush, expectObservable, expectSubscriptions }) => {
      const work = { a: cold('--|'), b: cold('-#', undefined, new Error('b')) }
      const until = hot('-----|')
      const outcomes = createClient()
        .topic('orders', { onFail: discard() })
        .pipe(
          handle(record => work[String(record.value) as 'a' | 'b'], { order: 'none' }),
          map(({ status }) => status),
        )
      expectObservable(outcomes, '^----!').toBe('                   --(af)', { a: 'acked', f: 'failed' })
      expectObservable(until).toBe('                                -----|')
      expectObservable(hot('-a').pipe(map(() => cold('-x')))).toBe('-i', { i: cold('-x') })
      expectObservable(of(1)).toEqual(of(1))
      records('orders', '                                           ab')
      expectSubscriptions(work.a.subscriptions).toBe('              ^-!')
      expectSubscriptions(work.b.subscriptions).toBe('              -^!')
      expect(time('---|')).toBe(3)
      flush()
      expect(work.a.subscriptions).toHaveLength(1)
    }))

  it('closes its clients at the end, whatever delays them', () => {
    let states: string[] = []
    runMarbles(({ createClient, records, outage }) => {
      const client = createClient()
      states = []
      client.state.subscribe(state => states.push(state))
      client.topic('orders').subscribe()
      records('orders', 'a')
      outage('           -^')
    })
    expect(states).toEqual(['idle', 'starting', 'running', 'draining', 'closed'])
  })

  it('ignores events after the tail', () => {
    const test = (tail: number) =>
      messageOf(
        ({ createClient, records, expectCommits }) => {
          createClient()
            .topic('orders')
            .pipe(handle(() => timer(50)))
            .subscribe()
          records('orders', '           a')
          expectCommits('orders').toBe('---')
        },
        { tail },
      )
    expect(test(46)).toBe('it passed')
    expect(test(47)).toMatch('commits of orders, frame 50: expected nothing, and 1 came')
  })

  it('includes clients that code under test creates and starts by itself', () =>
    runMarbles(({ driver, records, expectRetries, expectDeadLetters, expectCommits, expectObservable }) => {
      const client = createClient({
        driver: driver(),
        group: 'own',
        retryTopic: 'retry',
        dlqTopic: 'dlq',
        logger: false,
      })
      const failed = client.topic('orders', { retries: 1, dlq: true }).pipe(tap(record => record.fail()))
      records('orders', '                                                a----')
      expectObservable(failed.pipe(map(({ attempt }) => attempt))).toBe('(12)', { 1: 1, 2: 2 })
      expectRetries().toBe('                                             a----')
      expectDeadLetters().toBe('                                         a----')
      expectCommits('orders', { group: 'own' }).toBe('                   1')
      expectCommits('orders', { group: 'other' }).toBe('')
      client.start()
    }))
})

describe('runMarbles: names and letters', () => {
  it('accepts topics and groups by their names on the broker', () =>
    runMarbles(({ createClient, records, revoke, expectDeliveries, expectRetries, expectCommits, expectEvents }) => {
      createClient({ suffix: '-test' })
        .topic('orders', { retries: 1, backoff: fixed(2) })
        .subscribe(record => (record.attempt === 1 ? record.fail() : record.ack()))
      records('orders-test', '                                       a------')
      revoke('orders-test', '                                        ----r--')
      expectDeliveries('orders-test').toBe('                         a-a----')
      expectRetries().toBe('                                         a------')
      expectCommits('orders-test', { group: 'group-test' }).toBe('   1------')
      expectEvents({ r: 'revoked' }, { topic: 'orders-test' }).toBe('----r--')
    }))

  it('shows the copies of a record by its letter, even those that another group makes of a dead letter', () =>
    runMarbles(({ createClient, records, expectDeadLetters, expectPublished }) => {
      const [billing, audit] = [
        createClient({ group: 'billing' }),
        createClient({ group: 'audit', dlqTopic: 'audited' }),
      ]
      billing.topic('orders', { dlq: true }).subscribe(record => record.fail())
      audit
        .topic('dlq', { dlq: true })
        .pipe(delay(2))
        .subscribe(record => record.fail())
      records('orders', '              a---', { a: 'the value is no letter' })
      expectDeadLetters().toBe('       a---')
      expectPublished('audited').toBe('--a-')
    }))

  it('has one mark for all records without a letter, and names that the test gives to values', () => {
    const test = (values?: Record<string, string>) =>
      messageOf(({ broker, at, expectPublished }) => {
        at('-a', () => broker.publish('orders', [{ value: 'one' }, { value: null }, { value: 'z' }]))
        expectPublished('orders', values).toBe('-(1?z)')
      })
    expect(test({ 1: 'one' })).toBe('it passed')
    expect(test()).toMatch('published to orders, frame 1: expected 1?z, and ??z came')
  })
})

describe('runMarbles: settling, retries, dead letters, errors, states', () => {
  it('acks and fails by diagram, the newest delivery of a letter', () =>
    runMarbles(({ createClient, records, ack, fail, expectDeliveries, expectRetries, expectDeadLetters, ...out }) => {
      createClient()
        .topic('orders', { retries: 1, backoff: fixed(3), dlq: true })
        .subscribe()
      records('orders', '                ab----------')
      fail('                             a-b-a-------')
      expectRetries().toBe('             a-b---------')
      expectDeliveries('orders').toBe('  ab-a-b------')
      ack('                              -------b----')
      expectDeadLetters().toBe('         ----a-------')
      out.expectCommits('orders').toBe(' 1-2---------')
      out.expectCommits('retry').toBe('  ----1--2----')
      out.expectPublished('retry').toBe('a-b')
    }))

  it('reports a settlement without a record', () => {
    const message = messageOf(({ createClient, records, ack }) => {
      createClient().topic('orders').subscribe()
      records('orders', '--a')
      ack('              -a')
    })
    expect(message).toBe('ack of a at frame 1: a was not delivered by then, or was settled already')
  })

  it('reports a settlement of a record that there never was', () => {
    const message = messageOf(({ createClient, records, fail }) => {
      createClient().topic('orders').subscribe()
      records('orders', '--a')
      fail('             --b')
    })
    expect(message).toBe('fail of b at frame 2: b was never delivered')
  })

  it('reports a second settlement of a record', () => {
    const message = messageOf(({ createClient, records, ack }) => {
      createClient().topic('orders').subscribe()
      records('orders', '--a')
      ack('             ---aa')
    })
    expect(message).toBe('ack of a at frame 4: a was not delivered by then, or was settled already')
  })

  it('marks errors by class, events by type, states by first letter', () =>
    runMarbles(({ createClient, records, at, failNext, close, expectErrors, expectEvents, expectState }) => {
      const client = createClient()
      client
        .topic('orders', { retries: 1 })
        .pipe(tap(record => record.fail('why', { retry: record.attempt < 2 })))
        .subscribe()
      at('                 ------p-r', { p: () => client.pause('orders'), r: () => client.resume('orders') })
      records('orders', '  -----a------------')
      failNext('produce', '----x-------------')
      close('              120ms x')
      expectErrors({ p: PublishError, c: CommitError }).toBe('-----p 99ms ?')
      expectErrors().toBe('-----x 99ms x')
      expectEvents({ r: 'retried', p: 'paused', u: 'resumed' }).toBe('------p-u 96ms r')
      expectEvents({ c: 'committed' }, { topic: 'orders' }).toBe('105ms c')
      expectState().toBe(' (isr) 115ms (dc)')
    }))

  it('shows positions of two digits by other marks', () => {
    const test = (positions?: Record<string, number>) =>
      messageOf(({ createClient, broker, at, expectCommits }) => {
        const more = (offset: number, count: number) => () =>
          broker.publish(
            'orders',
            Array.from({ length: count }, (_, at) => ({ value: String(offset + at) })),
          )
        createClient()
          .topic('orders')
          .pipe(handle(() => {}))
          .subscribe()
        at('                                         abc', { a: more(0, 5), b: more(5, 6), c: more(11, 1) })
        expectCommits('orders', { positions }).toBe('5yz')
      })
    expect(test({ y: 11, z: 12 })).toBe('it passed')
    expect(test()).toMatch('  ?  position 11\n     position 12')
  })
})

describe('runMarbles: faults', () => {
  it('revokes a partition: records in flight may settle, then it is assigned again', () =>
    runMarbles(({ createClient, records, ack, revoke, expectDeliveries, expectCommits, expectEvents }) => {
      createClient({ rebalanceTimeout: 4 }).topic('orders').subscribe()
      records('orders', '                                                      ab----c---------')
      revoke('orders', '                                                       ---r------------')
      ack('                                                                    -----a----------')
      expectDeliveries('orders').toBe('                                        ab-----(bc)-----')
      expectCommits('orders').toBe('                                           -----1----------')
      expectEvents({ r: 'revoked', a: 'assigned' }, { topic: 'orders' }).toBe('a------(ra)')
    }))

  it('with the classic protocol stops all deliveries until the last moving partition is released', () =>
    runMarbles(
      ({ createClient, records, ack, revoke, expectDeliveries }) => {
        createClient({ groupProtocol: 'classic' }).topic('orders').subscribe()
        records('orders', ['           a-------', 'b--c----'])
        revoke('orders', ['            -r------', '--------'])
        ack('                          b----a--')
        expectDeliveries('orders').toBe(['a-------', 'b----c--'])
      },
      { partitions: 2 },
    ))

  it('with the consumer protocol continues retained partitions while another one moves', () =>
    runMarbles(
      ({ createClient, records, ack, revoke, expectDeliveries }) => {
        createClient({ groupProtocol: 'consumer' }).topic('orders').subscribe()
        records('orders', ['           a-------', 'b--c----'])
        revoke('orders', ['            -r------', '--------'])
        ack('                          b----a--')
        expectDeliveries('orders').toBe(['a-------', 'b--c----'])
      },
      { partitions: 2 },
    ))

  it('loses a partition: later settlements have no effect', () =>
    runMarbles(({ createClient, records, ack, at, lose, expectDeliveries, expectCommits, expectEvents }) => {
      const taken: ConsumeRecord[] = []
      createClient()
        .topic('orders')
        .pipe(tap(record => taken.push(record)))
        .subscribe()
      records('orders', ['                                    a------', '-b']) // two partitions
      ack('                                                   -b----a')
      lose('orders', ['                                       --l----'])
      at('                                                    ----x--', () => expect(taken[0]!.ack()).toBe(false))
      expectDeliveries('orders').toBe(['                      a-a----', '-b'])
      expectCommits('orders').toBe(['                         ------1', '-1'])
      expectEvents({ l: 'lost', s: 'late-settlement' }).toBe('--l-s--')
    }))

  it('moves a partition to another member', () =>
    runMarbles(({ createClient, start, records, expectDeliveries, expectCommits, expectEvents }) => {
      const [one, other] = [createClient(), createClient()]
      for (const client of [one, other])
        client
          .topic('orders')
          .pipe(handle(() => {}))
          .subscribe()
      start('                                                                ---s---', { client: other })
      records('orders', ['                                                   a----c-', '-b----d'])
      expectDeliveries('orders', { client: one }).toBe('                     ab----d')
      expectDeliveries('orders', { client: other }).toBe('                   -----c-')
      expectCommits('orders').toBe(['                                        1----2-', '-1----2'])
      expectEvents({ r: 'revoked' }, { client: one, topic: 'orders' }).toBe('---r')
    }))

  it('kills a member, whose partitions move when its session has ended', () =>
    runMarbles(({ createClient, records, kill, ack, expectDeliveries, expectState }) => {
      const [one, other] = [createClient(), createClient({ sessionTimeout: 1_000, heartbeatInterval: 100 })]
      for (const client of [one, other]) client.topic('orders').subscribe()
      records('orders', ['                              a--', '-b'])
      kill('                                            --x', { client: other })
      ack('                                             -b')
      expectDeliveries('orders', { client: one }).toBe('-b 1000ms a')
      expectState({ client: other }).toBe('             (isr)')
    }))

  it('freezes a member from ^ to !, which continues where it was', () =>
    runMarbles(({ createClient, records, freeze, expectDeliveries, expectCommits, expectEvents }) => {
      const client = createClient()
      client
        .topic('orders', { retries: 1, backoff: fixed(8) })
        .pipe(handle(record => (record.attempt === 1 ? throwError(() => new Error('once')) : timer(1))))
        .subscribe()
      records('orders', '               a----b------')
      freeze('                          --^------!--', { client })
      // Its timers fire late, and only once.
      expectDeliveries('orders').toBe(' a--------(ba)----b')
      expectCommits('orders').toBe('    1--------2')
      expectCommits('retry').toBe('  ----------1-------2')
      expectEvents({ l: 'lost', r: 'revoked' }).toBe('-')
    }))

  it('lets the group of a frozen member continue without it, which it learns before it delivers more', () =>
    runMarbles(({ createClient, records, freeze, expectDeliveries, expectCommits, expectEvents, expectErrors }) => {
      const [one, other] = [createClient(), createClient({ sessionTimeout: 4, heartbeatInterval: 1 })]
      one
        .topic('orders')
        .pipe(handle(() => {}))
        .subscribe()
      other.topic('orders', { maxInFlight: 1 }).subscribe()
      records('orders', ['                              abc--------', '-----------'])
      freeze('                                      --^-----!--', { client: other })
      expectDeliveries('orders', { client: other }).toBe('a----------')
      expectDeliveries('orders', { client: one }).toBe('  ------(abc)')
      expectEvents({ l: 'lost' }, { client: other, topic: 'orders' }).toBe('--------l--')
      expectCommits('orders').toBe(['               ------3----', '-----------'])
      expectErrors({}, { client: other }).toBe('            -----------')
    }))

  it('refuses to freeze a member in real time', () => {
    const broker = memoryBroker()
    expect(() => broker.freeze(broker.driver())).toThrow('virtual time')
    expect(() => broker.thaw({} as Driver)).toThrow('thaw() takes a driver of this broker')
  })

  it('sets the wall clock of a member, which affects only the dates that it writes', () =>
    runMarbles(({ broker, createClient, records, setClock, at, expectDeliveries }) => {
      const client = createClient()
      client.topic('orders', { retries: 1, backoff: fixed(5) }).subscribe(record => record.fail(new Error('no')))
      records('orders', '              a-----b--------c')
      setClock('                       ---f-----b-----', { f: 3_600_000, b: -7_200_000 }, { client })
      expectDeliveries('orders').toBe('a----ab----b---c----c')
      const failedAt: number[] = []
      at('- 30ms x', () => {
        for (const { headers } of broker.records('retry')) failedAt.push(Number(headers.mika_err_group_failed_at))
        expect(failedAt).toEqual([0, 3_600_006, 6])
      })
    }))

  it('disconnects the broker from ^ to !', () =>
    runMarbles(({ createClient, records, outage, expectDeliveries, expectCommits, expectEvents, expectErrors }) => {
      createClient()
        .topic('orders')
        .pipe(handle(() => timer(2)))
        .subscribe()
      records('orders', '                                         a--b------')
      outage('                                                    -^---!----')
      expectDeliveries('orders').toBe('                           a----b----')
      expectErrors({ c: CommitError }).toBe('                     --c-------')
      expectEvents({ d: 'disconnected', r: 'reconnected' }).toBe('-d---r----')
      // Refused at 2, and tried again after 100 ms.
      expectCommits('orders').toBe('                              102ms 2')
    }))

  it('fails the next request of a kind', () =>
    runMarbles(({ createClient, records, ack, fail, failNext, expectCommits, expectDeadLetters, expectErrors }) => {
      createClient().topic('orders', { dlq: true }).subscribe()
      records('orders', '           ab------------')
      failNext('produce', '         --p', { p: new PublishError('too large', { retriable: false }) })
      failNext('commit', '          ----c----------')
      fail('                        ---b-----------')
      ack('                         -------a-------')
      expectDeadLetters().toBe('')
      expectErrors({ c: CommitError, p: PublishError, u: UnroutableFailureError }).toBe('---(pu)c')
      expectCommits('orders').toBe('107ms 1')
    }))

  it('closes gracefully, or at once', () => {
    runMarbles(({ createClient, records, ack, closeGracefully, expectState, expectDeliveries, expectCommits }) => {
      createClient().topic('orders').subscribe()
      records('orders', '              a-----b----')
      closeGracefully('                -----g-----')
      ack('                            --------a--')
      expectDeliveries('orders').toBe('a----------')
      expectCommits('orders').toBe('   --------1--')
      expectState().toBe('             (isr)d--c--')
    })
    runMarbles(({ createClient, records, ack, close, expectState, expectCommits }) => {
      createClient().topic('orders').subscribe()
      records('orders', '           a---------')
      close('                       -----c----')
      ack('                         --------a-')
      expectCommits('orders').toBe('----------')
      expectState().toBe('          (isr)(dc)-')
    })
  })
})

describe('runMarbles: misuse', () => {
  const wrong: [string, string, (helpers: MarbleHelpers) => void | Promise<void>][] = [
    [
      'ends what is put in',
      "records of orders 'a|': | and # have no meaning here",
      ({ records }) => records('orders', 'a|'),
    ],
    ['closes no client', 'close: there is no client that this run made', ({ close }) => close('x')],
    [
      'closes one of two',
      'close: there are 2 clients: say { client }',
      ({ createClient, close }) => {
        createClient()
        createClient()
        close('                     x')
      },
    ],
    [
      'revokes a partition of a group without members',
      "group 'group' has no members",
      ({ revoke }) => revoke('orders', '-x'),
    ],
    ['does something undefined', "at 'ab': there is no action for b", ({ at }) => at('ab', { a: () => {} })],
    ['returns a promise', 'the test returned a promise', async () => {}],
    [
      'feeds itself',
      'time stands still: more than 50000 actions at frame 1',
      ({ createClient, records }) => {
        createClient()
          .topic('orders', { retries: 1_000_000 })
          .pipe(tap(record => record.fail()))
          .subscribe()
        records('orders', '         -a')
      },
    ],
  ]
  it.each(wrong)('explains the mistake if a test %s', (_, message, test) => {
    expect(messageOf(test as (helpers: MarbleHelpers) => void)).toMatch(message)
  })

  it('throws unhandled errors of code under test', () => {
    const message = messageOf(({ createClient, records }) => {
      createClient()
        .topic('orders')
        .pipe(
          tap(() => {
            throw new Error('unhandled')
          }),
        )
        .subscribe()
      records('orders', 'a')
    })
    expect(message).toBe('unhandled')
  })
})

describe('runMarbles with promises, on fake timers', () => {
  const advanceTimers = (ms: number) => vi.advanceTimersByTimeAsync(ms)
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('runs handlers that await, to the frame', () =>
    runMarbles(
      ({ createClient, records, expectDeliveries, expectCommits, expectRetries, expectObservable }) => {
        const charge = async ({ attempt, value }: ConsumeRecord) => {
          await new Promise(resolve => setTimeout(resolve, 3))
          if (attempt === 1 && String(value) === 'b') throw new Error('declined')
          return String(value)
        }
        const outcomes = createClient()
          .topic('orders', { retries: 1, backoff: fixed(10) })
          .pipe(
            handle(charge),
            map(({ status }) => status[0]),
          )
        records('orders', '              a-b------------------')
        expectDeliveries('orders').toBe('a-b-------------b----')
        expectRetries().toBe('           ------b--------------')
        expectCommits('orders').toBe('   ---1--2---')
        expectObservable(outcomes).toBe('---a--f------------a')
      },
      { advanceTimers },
    ))

  it('fails with the same diagram', async () => {
    const failure = runMarbles(
      ({ createClient, records, expectCommits }) => {
        createClient()
          .topic('orders')
          .pipe(handle(() => Promise.resolve()))
          .subscribe()
        records('orders', '           -a')
        expectCommits('orders').toBe('--1')
      },
      { advanceTimers },
    )
    await expect(failure).rejects.toThrow('commits of orders, frame 1: expected nothing, and 1 came')
  })

  it('refuses timers that are not faked', async () => {
    vi.useRealTimers()
    const failure = runMarbles(() => {}, { advanceTimers: () => Promise.resolve() })
    await expect(failure).rejects.toThrow(/^advanceTimers\(\d+\) left the time at/)
  })

  it('refuses fake timers without a fake performance clock', async () => {
    vi.useRealTimers()
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
    const failure = runMarbles(() => {}, { advanceTimers: ms => vi.advanceTimersByTimeAsync(ms) })
    await expect(failure).rejects.toThrow(/performance moved by \d+ ms: fake the timers, Date and performance/)
  })

  it('closes its clients at the end', async () => {
    let client!: Client
    const run = (helpers: MarbleHelpers) => {
      client = helpers.createClient()
      client
        .topic('orders')
        .pipe(handle(() => Promise.resolve()))
        .subscribe()
    }
    await runMarbles(run, { advanceTimers })
    expect(client.currentState).toBe('closed')
  })
})
