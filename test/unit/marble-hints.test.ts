import { filter, map, mergeMap, type OperatorFunction, share, tap, timer } from 'rxjs'
import { type ConsumeRecord, createClient, fixed, handle } from 'rxmika'
import { type MarbleHelpers, runMarbles, type VirtualHelpers } from 'rxmika/testing'
import { describe, expect, it, vi } from 'vitest'

type Test = (helpers: MarbleHelpers & VirtualHelpers) => void

/** The part of the message below the diagrams of a failed run. */
function belowPicture(test: Test): string {
  const message = messageOf(test)
  const at = message.search(/^(still held|stalls\(\)|hints):/m)
  return at === -1 ? '' : `\n${message.slice(at)}\n`
}

function messageOf(test: Test): string {
  try {
    runMarbles(test)
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('it passed')
}

const dropped =
  'a record that is neither acked nor failed has often been dropped by an operator: use keep() for filter, latest() for debounceTime, fork() for share'

describe('a failing marble test shows records that are still held', () => {
  it('lists records that were never settled, and stalls()', () => {
    expect(
      belowPicture(({ createClient, records, expectCommits }) => {
        createClient()
          .topic('orders')
          .pipe(
            filter(({ value }) => String(value) !== 'a'),
            tap(record => record.ack()),
          )
          .subscribe()
        records('orders', ['       abc', 'd-e'])
        expectCommits('orders').toBe('123')
      }),
    ).toBe(`
still held:
  a delivered, never settled

stalls():
  orders-0@0 unsettled

hints:
  ${dropped}
`)
  })

  it('distinguishes the reasons', () => {
    const message = belowPicture(({ createClient, records, expectState }) => {
      const client = createClient({ commitInterval: 60_000 })
      for (const topic of ['failing', 'late']) {
        client
          .topic(topic, { retries: 1, backoff: fixed(topic === 'late' ? 60_000 : 0) })
          .subscribe(record => record.fail())
      }
      for (const topic of ['unroutable', 'paused', 'held']) {
        client.topic(topic).subscribe(record => topic === 'unroutable' && record.fail())
      }
      client.topic('one', { maxInFlight: 1 }).subscribe()
      client.pause('paused')
      // Its commit is the first one. The next would be much later.
      client.topic('acked').subscribe(record => record.ack())
      client.topic('unsubscribed')
      records('acked', '      -k')
      records('late', '       --l')
      records('unroutable', ' -u')
      records('paused', '     -p')
      records('held', '       -h')
      records('one', '        -(ij)')
      records('unsubscribed', '-n')
      expectState().toBe('    x')
    })
    for (const line of [
      'l waits for its retry (attempt 2)',
      'u failed, and no step of its route took it',
      'p not delivered: its topic is paused',
      'h delivered, never settled',
      'i delivered, never settled',
      'n not delivered: its topic has no subscriber',
      'what is completed from late-0@0 on is not committed',
    ]) {
      expect(message).toContain(`  ${line}\n`)
    }
    for (const stall of ['retry-0@0 not-due', 'unroutable-0@0 unroutable', 'paused-0@0 paused', 'held-0@0 unsettled']) {
      expect(message).toContain(`  ${stall}\n`)
    }
  })

  it('names the client of each record if there are several, including former clients', () => {
    const message = belowPicture(({ createClient, records, close, kill, expectState }) => {
      const [first, second] = [createClient({ group: 'one' }), createClient({ group: 'two' })]
      const [third, fourth] = [createClient({ group: 'three' }), createClient({ group: 'four' })]
      for (const client of [first, second, third, fourth]) client.topic('orders').subscribe()
      first.events.subscribe()
      records('orders', '-a')
      close('           ---x', { client: third })
      kill('            ---x', { client: fourth })
      expectState({ client: first }).toBe('x')
    })
    expect(message).toContain('  a delivered, never settled of client 1\n')
    expect(message).toContain('  a delivered, never settled of client 2\n')
    expect(message).toContain('  orders-0@0 unsettled of client 2\n')
  })

  it('lists records of a client that closed with a record in its pipeline', () => {
    expect(
      belowPicture(({ createClient, records, close, expectCommits }) => {
        createClient().topic('orders').subscribe()
        records('orders', '-a')
        close('           --x')
        expectCommits('orders').toBe('-1')
      }),
    ).toBe(`
still held:
  a delivered, never settled; its client has closed
`)
  })

  it('shows at most eight', () => {
    const message = belowPicture(({ createClient, records, expectCommits }) => {
      createClient().topic('orders').subscribe()
      records('orders', '(abcdefghijkl)')
      expectCommits('orders').toBe('1')
    })
    expect(message).toContain('  h delivered, never settled\n  and 4 more\n')
  })

  it('shows nothing if no record is held or the test passes', () => {
    expect(
      belowPicture(({ createClient, records, expectCommits }) => {
        createClient()
          .topic('orders')
          .pipe(handle(() => timer(1)))
          .subscribe()
        records('orders', '          a-')
        expectCommits('orders').toBe('1-')
      }),
    ).toBe('')
    runMarbles(({ createClient, records, expectCommits }) => {
      createClient().topic('orders').subscribe()
      records('orders', '          a')
      expectCommits('orders').toBe('-')
    })
  })
})

describe('a failing marble test hints at', () => {
  const promising: readonly [string, OperatorFunction<ConsumeRecord, unknown>][] = [
    ['a handler that awaits', handle(async () => {})],
    ['a handler that returns a promise', handle(() => Promise.resolve())],
    [
      'a mergeMap that awaits',
      mergeMap(async record => {
        await undefined
        return record.ack()
      }),
    ],
  ]

  it.each(promising)('a promise in virtual time: %s', (_, operator) => {
    const message = belowPicture(({ createClient, records, expectCommits }) => {
      createClient().topic('orders').pipe(operator).subscribe()
      records('orders', '          a')
      expectCommits('orders').toBe('1')
    })
    expect(message).toContain('  a delivered, never settled\n')
    expect(message).toContain(
      '  a promise was made, and in virtual time no promise settles: return an Observable, or give runMarbles advanceTimers\n',
    )
    expect(message).not.toContain(dropped)
  })

  it('no promise if promises settle, on fake timers', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'] })
    try {
      const run = runMarbles(
        ({ createClient, records, expectCommits }) => {
          createClient()
            .topic('orders')
            .pipe(map(async () => {}))
            .subscribe()
          records('orders', '          a')
          expectCommits('orders').toBe('1')
        },
        { advanceTimers: ms => vi.advanceTimersByTimeAsync(ms) },
      )
      await expect(run).rejects.toThrow(dropped)
    } finally {
      vi.useRealTimers()
    }
  })

  it('a pipeline that was never subscribed', () => {
    expect(
      belowPicture(({ createClient, records, expectCommits }) => {
        const client = createClient()
        client.topic('orders').pipe(handle(() => {}))
        client
          .topic('refunds')
          .pipe(handle(() => {}))
          .subscribe()
        records('orders', '          a')
        expectCommits('orders').toBe('1')
      }),
    ).toBe(`
still held:
  a not delivered: its topic has no subscriber

stalls():
  orders-0@0 no-subscriber

hints:
  topic 'orders' was never subscribed to: end its pipeline with subscribe(), or give it to expectObservable
`)
  })

  it('records of a topic that is not registered, and a registered one with a similar name', () => {
    expect(
      belowPicture(({ createClient, records, expectDeliveries }) => {
        createClient({ suffix: '-dev' })
          .topic('orders')
          .pipe(handle(() => {}))
          .subscribe()
        records('order-dev', '           a')
        records('elsewhere', '           b')
        records('orders', '              d')
        records('retry-dev', '           c')
        expectDeliveries('orders-dev').toBe('a')
      }),
    ).toBe(`
hints:
  records were written to 'order-dev', which no client has registered by topic('order-dev'); did you mean 'orders-dev'?
  records were written to 'elsewhere', which no client has registered by topic('elsewhere')
  records were written to 'orders', which no client reads: topic('orders') reads 'orders-dev', because of the client's suffix
`)
  })

  it('that too if a settlement has no record', () => {
    const message = messageOf(({ createClient, records, ack }) => {
      createClient().topic('orders').subscribe()
      records('order', 'a')
      ack('             a')
    })
    expect(message).toBe(
      'ack of a at frame 0: a was never delivered\n' +
        "  records were written to 'order', which no client has registered by topic('order'); did you mean 'orders'?",
    )
  })

  it('no topic if code under test creates its own clients', () => {
    expect(
      belowPicture(({ driver, createClient: own, records, expectDeliveries }) => {
        const client = createClient({ driver: driver(), env: {}, group: 'g', logger: false })
        client.topic('orders').subscribe(record => record.ack())
        client.start()
        own().topic('refunds').subscribe()
        records('orders', '           a')
        expectDeliveries('refunds').toBe('a')
      }),
    ).toBe('')
  })

  it('a failure after an ack, and an ack after a failure', () => {
    expect(
      belowPicture(({ createClient, records, expectDeadLetters }) => {
        const orders = createClient().topic('orders', { dlq: true }).pipe(share())
        orders.pipe(handle(record => timer(record.offset === 0n ? 1 : 5))).subscribe()
        orders
          .pipe(
            handle(record =>
              timer(record.offset === 0n ? 3 : 2).pipe(
                tap(() => {
                  throw new Error('declined')
                }),
              ),
            ),
          )
          .subscribe()
        records('orders', '          a---------b---')
        expectDeadLetters().toBe('   ---a--------b')
      }),
    ).toBe(`
hints:
  a failed after its ack, which counts: the failure is neither retried nor dead-lettered
  b was acked after it had failed: the failure counts
  settle each record in one place; to handle it in several ways use fork(), not share()
`)
  })
})
