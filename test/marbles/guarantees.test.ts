import { bufferTime, filter, map, mergeMap, of, retry, tap, throwError, timer } from 'rxjs'
import {
  ClientClosedError,
  CommitError,
  type ConsumeRecord,
  deadLetter,
  FetchError,
  fixed,
  halt,
  handle,
  PublishError,
  redeliver,
  steps,
  UnroutableFailureError,
} from 'rxmika'
import { runMarbles } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'

// The promises of docs/guarantees.md about order, each drawn for a whole client on the memory broker. A column is a
// millisecond. Letters are records that are written, acked, failed or delivered. Digits are committed positions.
// The numbers are the numbers of the rules.

describe('1. the committed position', () => {
  it('moves past b only once a, delivered before it, is acked', () =>
    runMarbles(({ createClient, records, ack, expectDeliveries, expectCommits }) => {
      createClient().topic('orders').subscribe()
      records('orders', '              a-b---------')
      ack('                            -----b---a--')
      expectDeliveries('orders').toBe('a-b---------')
      expectCommits('orders').toBe('   ---------2--')
    }))

  it('does not wait for other partitions', () =>
    runMarbles(({ createClient, records, ack, expectCommits }) => {
      createClient().topic('orders').subscribe()
      records('orders', ['           a--------', '--b--c---'])
      ack('                          ----b-c-a')
      expectCommits('orders').toBe(['--------1', '----1-2--'])
    }))

  it('reaches the end of the log past what was compacted away and past markers', () =>
    runMarbles(({ createClient, records, broker, at, start, expectDeliveries, expectCommits }) => {
      createClient()
        .topic('orders')
        .pipe(handle(() => {}))
        .subscribe()
      records('orders', '              abcd--------')
      at('                             ----m-------', () => {
        broker.appendMarker('orders', 0)
        broker.compact('orders', 0, [0, 2])
      })
      start('                          ------s-----')
      expectDeliveries('orders').toBe('------(ac)--')
      expectCommits('orders').toBe('   ------5-----')
    }))
})

describe('2. and 3. an assignment that has ended', () => {
  it('accepts no settlement: acking a lost record has no effect, and it is redelivered', () =>
    runMarbles(({ createClient, records, lose, at, expectDeliveries, expectCommits }) => {
      const delivered: ConsumeRecord[] = []
      createClient()
        .topic('orders')
        .pipe(tap(record => delivered.push(record)))
        .subscribe()
      records('orders', '              a---------')
      lose('orders', '                 ----l-----')
      at('                             -------x--', () => expect(delivered[0]!.ack()).toBe(false))
      expectDeliveries('orders').toBe('a---a-----')
      expectCommits('orders').toBe('   ----------')
    }))

  it('commits nothing, not even a pending position of records acked before', () =>
    runMarbles(
      ({ createClient, records, ack, lose, expectCommits, expectEvents, expectErrors }) => {
        createClient().topic('orders').subscribe()
        records('orders', '                               a---------------')
        ack('                                             ----------a-----')
        lose('orders', '                                  -----------l----')
        expectErrors({ c: CommitError }).toBe('           ------------c---')
        expectEvents({ l: 'lost', c: 'committed' }).toBe('-----------l----')
        expectCommits('orders').toBe('                    ----------------')
      },
      { latency: 2, tail: 5 },
    ))
})

describe('4. commits', () => {
  it('are sent one at a time, with the newest position', () =>
    runMarbles(
      ({ createClient, broker, ack, expectDeliveries, expectCommits }) => {
        broker.publish('orders', [{ value: 'a' }, { value: 'b' }, { value: 'c' }, { value: 'd' }])
        createClient().topic('orders').subscribe()
        ack('                            25ms ---a-b-c----d------')
        expectDeliveries('orders').toBe('25ms (abcd)-----------')
        // The commit of 1 takes five ms. Meanwhile b and c are acked, and d after it.
        expectCommits('orders').toBe('   25ms --------1----3----4')
      },
      { latency: 5 },
    ))

  it('never go back, in whatever order records are acked', () =>
    runMarbles(({ createClient, records, ack, expectCommits }) => {
      createClient().topic('orders').subscribe()
      records('orders', '           abcde------------')
      ack('                         -----c-a-e-b-d-')
      expectCommits('orders').toBe('-------1---3-5-')
    }))
})

describe('5. a record', () => {
  it('is settled once, by the first of ack and fail', () =>
    runMarbles(({ createClient, records, at, expectDeadLetters, expectCommits }) => {
      const delivered: ConsumeRecord[] = []
      createClient()
        .topic('orders', { dlq: true })
        .subscribe(record => delivered.push(record))
      records('orders', '           ab--------')
      at('                          --f-A-a-F-', {
        f: () => expect(delivered[0]!.fail()).toBe(true),
        A: () => expect(delivered[0]!.ack()).toBe(false),
        a: () => expect(delivered[1]!.ack()).toBe(true),
        F: () => expect(delivered[1]!.fail()).toBe(false),
      })
      expectDeadLetters().toBe('    --a-------')
      expectCommits('orders').toBe('--1---2---')
    }))
})

describe('6. a copy', () => {
  it('is acknowledged before its source is committed', () =>
    runMarbles(
      ({ createClient, records, fail, expectRetries, expectCommits }) => {
        createClient().topic('orders', { retries: 1 }).subscribe()
        records('orders', '           a---------------------')
        fail('                        ---------------a------')
        expectRetries().toBe('        ------------------a---')
        expectCommits('orders').toBe('---------------------1')
      },
      { latency: 3, tail: 0 },
    ))

  it('is sent again until the broker accepts it, and its source waits', () =>
    runMarbles(({ createClient, records, failNext, fail, ack, expectDeadLetters, expectCommits, expectErrors }) => {
      createClient().topic('orders', { dlq: true }).subscribe()
      records('orders', '                     ab----')
      ack('                                   --b---')
      fail('                                  --a---')
      failNext('produce', '                   x-----')
      expectErrors({ p: PublishError }).toBe('--p---')
      expectDeadLetters().toBe('              102ms a')
      expectCommits('orders').toBe('          102ms 2')
    }))

  it('goes to the next topic if the broker refuses it for good', () =>
    runMarbles(({ createClient, records, failNext, fail, expectRetries, expectDeadLetters, expectCommits }) => {
      createClient().topic('orders', { retries: 5, dlq: true }).subscribe()
      records('orders', '           a------')
      fail('                        ---a---')
      failNext('produce', '         -x-----', { x: new PublishError('too large', { retriable: false }) })
      expectRetries().toBe('        -------')
      expectDeadLetters().toBe('    ---a---')
      expectCommits('orders').toBe('---1---')
    }))

  it('goes to the retry topic as often as there are retries, and then to the DLQ topic', () =>
    runMarbles(({ createClient, records, expectDeliveries, expectRetries, expectDeadLetters, expectCommits }) => {
      createClient()
        .topic('orders', { retries: 2, backoff: steps([2, 4]), dlq: true })
        .subscribe(record => record.fail())
      records('orders', '              a---------')
      expectRetries().toBe('           a-a-------')
      expectDeliveries('orders').toBe('a-a---a---')
      expectDeadLetters().toBe('       ------a---')
      expectCommits('orders').toBe('   1---------')
      expectCommits('retry').toBe('    --1---2---')
    }))

  it('has no topic to go to: the commits of its partition stop, other partitions continue', () =>
    runMarbles(({ createClient, records, fail, ack, expectCommits, expectErrors }) => {
      createClient().topic('orders').subscribe()
      records('orders', ['                              abc-----', '-----d--'])
      ack('                                             --a-c-d-')
      fail('                                            ---b----')
      expectErrors({ u: UnroutableFailureError }).toBe('---u----')
      expectCommits('orders').toBe(['                   --1-----', '------1-'])
    }))
})

describe('8. memory', () => {
  it('spans at most maxInFlight records, from the first that is not completed', () =>
    runMarbles(({ createClient, records, ack, expectDeliveries, expectCommits }) => {
      createClient().topic('orders', { maxInFlight: 2 }).subscribe()
      records('orders', '              abcde--------------')
      ack('                            ----b--a--d-------c')
      expectDeliveries('orders').toBe('ab-----(cd)-------e')
      expectCommits('orders').toBe('   -------2----------4')
    }))

  it('is one fetched batch at a time behind the strict gate, committed before the next', () =>
    runMarbles(({ createClient, records, start, ack, expectDeliveries, expectCommits }) => {
      createClient({ commitInterval: 5 }).topic('orders', { batch: true }).subscribe()
      records('orders', '              ab-----c------------')
      start('                          --s-----------------')
      ack('                            ----a---b--------c--')
      expectDeliveries('orders').toBe('--(ab)---c----------')
      expectCommits('orders').toBe('   ----1----2-------3--')
    }))
})

describe('9. a rebalance', () => {
  it('stops delivery, lets records in flight settle, commits, and only then completes', () =>
    runMarbles(({ createClient, records, revoke, ack, expectDeliveries, expectCommits, expectEvents }) => {
      // One at a time: b waits in the client for a.
      createClient().topic('orders', { maxInFlight: 1 }).subscribe()
      records('orders', ['                 ab-----------', 'c-----------'])
      revoke('orders', ['                  ---r---------'])
      ack('                                ------a--c---')
      expectDeliveries('orders').toBe(['   a--------b---', 'c-----------'])
      expectCommits('orders').toBe(['      ------1------', '---------1--'])
      expectEvents({ r: 'revoked' }).toBe('---------r----')
    }))

  it('waits no longer than rebalanceTimeout, and redelivers unsettled records', () =>
    runMarbles(({ createClient, records, revoke, ack, expectDeliveries, expectCommits }) => {
      createClient({ rebalanceTimeout: 5 }).topic('orders').subscribe()
      records('orders', '              ab---------')
      revoke('orders', '               --r--------')
      ack('                            ----a------')
      expectDeliveries('orders').toBe('ab-----b---')
      expectCommits('orders').toBe('   ----1------')
    }))

  it('redelivers nothing that was acked, even behind an unacked record', () =>
    runMarbles(({ createClient, records, revoke, ack, expectDeliveries, expectCommits }) => {
      createClient({ rebalanceTimeout: 3 }).topic('orders').subscribe()
      records('orders', '              abcd-----------')
      ack('                            ----b-d-------a')
      revoke('orders', '               --------r------')
      expectDeliveries('orders').toBe('abcd-------(ac)')
      expectCommits('orders').toBe('   --------------2')
    }))

  it('continues partitions that stay where they were', () =>
    runMarbles(({ createClient, records, revoke, ack, expectDeliveries, expectCommits }) => {
      createClient({ rebalanceTimeout: 2 }).topic('orders').subscribe()
      records('orders', ['              a------', '-b---c-'])
      revoke('orders', ['               --r----'])
      ack('                             ------b')
      expectDeliveries('orders').toBe(['a---a--', '-b---c-'])
      expectCommits('orders').toBe(['   -------', '------1'])
    }))

  it('gives a new member its share, and redelivers no acked record to either', () =>
    runMarbles(({ createClient, start, records, expectDeliveries, expectCommits }) => {
      const [first, newcomer] = [createClient(), createClient()]
      for (const client of [first, newcomer])
        client
          .topic('orders')
          .pipe(handle(() => timer(1)))
          .subscribe()
      records('orders', ['                                   a--c--', 'b---d-'])
      start('                                                --s---', { client: newcomer })
      expectDeliveries('orders', { client: first }).toBe('   (ab)d-')
      expectDeliveries('orders', { client: newcomer }).toBe('---c--')
      expectCommits('orders').toBe(['                        -1--2-', '-1---2'])
    }))

  it('skips after a crash records that were acked behind the position', () =>
    runMarbles(({ createClient, records, start, kill, ack, expectDeliveries }) => {
      const [first, second] = [createClient(), createClient()]
      for (const client of [first, second]) client.topic('orders').subscribe()
      records('orders', '                                  abc-------')
      ack('                                                ----b-----')
      kill('                                               ------x---', { client: first, after: 2 })
      start('                                              -------s--', { client: second })
      expectDeliveries('orders', { client: second }).toBe('--------(ac)')
    }))
})

describe('10. a topic', () => {
  it('that is stuck, paused or without a subscriber delays only its own partitions', () =>
    runMarbles(({ createClient, records, at, expectDeliveries, expectCommits }) => {
      const client = createClient()
      client.topic('stuck', { maxInFlight: 1 }).subscribe()
      client.topic('paused').subscribe()
      client.topic('unread')
      client
        .topic('fine')
        .pipe(handle(() => {}))
        .subscribe()
      client.pause('paused')
      records('stuck', '               ab-----')
      records('paused', '              c--d---')
      records('unread', '              -e-----')
      records('fine', '                -f-g--h')
      at('                             -----r-', () => client.resume('paused'))
      expectDeliveries('stuck').toBe(' a------')
      expectDeliveries('paused').toBe('-----(cd)')
      expectDeliveries('unread').toBe('-------')
      expectCommits('fine').toBe('     -1-2--3')
    }))
})

describe('11. a retry', () => {
  it('is never early, and waits alone', () =>
    runMarbles(({ createClient, records, ack, fail, expectDeliveries }) => {
      const client = createClient()
      client.topic('slow', { retries: 1, backoff: fixed(12) }).subscribe()
      client.topic('quick', { retries: 1, backoff: fixed(3) }).subscribe()
      records('slow', '               a-------------')
      records('quick', '              -b--c---------')
      fail('                          -ab-c---------')
      ack('                           -----b-c-----a')
      expectDeliveries('slow').toBe(' a------------a')
      expectDeliveries('quick').toBe('-b--cb-c------')
    }))

  it('without a topic is redelivered in place, and its partition continues meanwhile', () =>
    runMarbles(({ createClient, records, expectDeliveries, expectCommits, expectDeadLetters }) => {
      const client = createClient()
      const onFail = (failures: Parameters<ReturnType<typeof redeliver>>[0]) =>
        failures.pipe(redeliver(client, { attempts: 3, backoff: fixed(3) }), deadLetter(client))
      client
        .topic('orders', { onFail })
        .subscribe(record => (String(record.value) === 'a' ? record.fail() : record.ack()))
      records('orders', '              ab--c-----')
      expectDeliveries('orders').toBe('ab-ac-a---')
      expectDeadLetters().toBe('       ------a---')
      expectCommits('orders').toBe('   ------3---')
    }))
})

describe('12. user code that throws', () => {
  it('in a handler fails only its record', () =>
    runMarbles(({ createClient, records, expectDeliveries, expectDeadLetters, expectCommits }) => {
      createClient()
        .topic('orders', { dlq: true })
        .pipe(
          handle(({ value }) => {
            if (String(value) === 'b') throw new Error('b')
          }),
        )
        .subscribe()
      records('orders', '              a-b-c-')
      expectDeliveries('orders').toBe('a-b-c-')
      expectDeadLetters().toBe('       --b---')
      expectCommits('orders').toBe('   1-2-3-')
    }))

  it('in a pipeline ends the subscription, and the next one gets unsettled records, in order', () =>
    runMarbles(({ createClient, records, ack, expectDeliveries, expectCommits }) => {
      let failures = 1
      createClient()
        .topic('orders')
        .pipe(
          mergeMap(record => (String(record.value) === 'c' && failures-- > 0 ? throwError(() => 'c') : of(record))),
          retry({ delay: 4 }),
        )
        .subscribe()
      records('orders', '              a-b-c-------d---')
      ack('                            ---b---------acd')
      expectDeliveries('orders').toBe('a-b-c---(ac)d---')
      expectCommits('orders').toBe('   -------------234')
    }))

  it('in a decoder sends its record to the DLQ topic, whatever `retries` is', () =>
    runMarbles(({ createClient, records, expectDeliveries, expectRetries, expectDeadLetters, expectCommits }) => {
      createClient()
        .topic('orders', { retries: 3, dlq: true, decode: (bytes: Buffer) => JSON.parse(String(bytes)) })
        .pipe(handle(() => {}))
        .subscribe()
      records('orders', '              1-x-2-')
      expectDeliveries('orders').toBe('1---2-')
      expectRetries().toBe('           ------')
      expectDeadLetters().toBe('       --x---')
      expectCommits('orders').toBe('   1-2-3-')
    }))
})

describe('13. closing', () => {
  it('gracefully delivers no new records, waits for delivered ones, commits, and ends', () =>
    runMarbles(({ createClient, records, closeGracefully, ack, expectDeliveries, expectCommits, expectState }) => {
      createClient().topic('orders').subscribe()
      records('orders', '              a-b---c-----')
      closeGracefully('                -----x------')
      ack('                            -------b--a-')
      expectDeliveries('orders').toBe('a-b---------')
      expectCommits('orders').toBe('   ----------2-')
      expectState().toBe('             (isr)d----c-')
    }))

  it('gracefully waits for the copies of failed records too', () =>
    runMarbles(
      ({ createClient, records, closeGracefully, fail, expectDeadLetters, expectCommits, expectState }) => {
        createClient().topic('orders', { dlq: true }).subscribe()
        records('orders', '           a---------------------')
        fail('                        ------------a---------')
        closeGracefully('             -------------x--------')
        expectDeadLetters().toBe('    --------------a-------')
        expectCommits('orders').toBe('----------------1-----')
        expectState().toBe('          (is)----r----d------c-')
      },
      { latency: 2 },
    ))

  it('gives up at the timeout', () =>
    runMarbles(({ createClient, records, closeGracefully, ack, expectCommits, expectState }) => {
      createClient().topic('orders').subscribe()
      records('orders', '           ab--------')
      ack('                         --a-----b-')
      closeGracefully('             -----x----', { timeout: 2 })
      expectCommits('orders').toBe('--1-------')
      expectState().toBe('          (isr)d-c--')
    }))

  it('at once commits completed records, and does not wait for others', () =>
    runMarbles(({ createClient, records, close, ack, expectCommits, expectState }) => {
      createClient({ commitInterval: 1_000 }).topic('orders').subscribe()
      records('orders', '           abc-------')
      ack('                         ---ab-----')
      close('                       ------x---')
      expectCommits('orders').toBe('---1--2---')
      expectState().toBe('          (isr)-(dc)')
    }))

  it('completes the streams first, so that operators release the records they hold back', () =>
    runMarbles(({ createClient, records, closeGracefully, expectCommits, expectState, expectObservable }) => {
      const batches = createClient()
        .topic('orders')
        .pipe(
          bufferTime(100),
          filter(batch => batch.length > 0),
          handle(() => timer(2)),
          map(({ status }) => status[0]),
        )
      expectObservable(batches).toBe('-------(aa|)')
      records('orders', '             a-b-------')
      closeGracefully('               -----x----')
      expectCommits('orders').toBe('  -------2--')
      expectState().toBe('            (isr)d-c--')
    }))

  it('ends within 5 seconds even if the broker is away, and reports what it could not commit', () =>
    runMarbles(({ createClient, records, outage, ack, close, expectState, expectCommits }) => {
      createClient().topic('orders').subscribe()
      records('orders', '           a---------')
      outage('                      --^-------')
      ack('                         ----a-----')
      close('                       ------x---')
      expectCommits('orders').toBe('----------')
      expectState().toBe('          (isr)-d 4499ms c')
    }))

  it('by halt leaves the record uncommitted, and reports the reason', () =>
    runMarbles(({ createClient, records, fail, ack, expectCommits, expectErrors, expectState }) => {
      const client = createClient()
      client.topic('orders', { onFail: halt(client) }).subscribe({ error: () => {} })
      records('orders', '                          ab--------')
      ack('                                        ---a------')
      fail('                                       -----b----')
      expectErrors({ c: ClientClosedError }).toBe('-----c----')
      expectState().toBe('                         (isr)(dc)-')
      expectCommits('orders').toBe('               ---1------')
    }))
})

describe('shared retry and DLQ topics', () => {
  it('deliver to each group only its own retries, and skip those of other groups', () =>
    runMarbles(({ createClient, records, expectDeliveries, expectCommits, expectRetries }) => {
      const [billing, mail] = [createClient({ group: 'billing' }), createClient({ group: 'mail' })]
      billing
        .topic('orders', { retries: 1, backoff: fixed(3) })
        .subscribe(record => (record.attempt === 1 ? record.fail() : record.ack()))
      mail
        .topic('orders', { retries: 1 })
        .pipe(handle(() => {}))
        .subscribe()
      records('orders', '                                   a-----')
      expectRetries().toBe('                                a-----')
      expectDeliveries('orders', { client: billing }).toBe('a--a--')
      expectDeliveries('orders', { client: mail }).toBe('   a-----')
      expectCommits('retry', { group: 'billing' }).toBe('   ---1--')
      expectCommits('retry', { group: 'mail' }).toBe('      1-----')
    }))

  it('deliver dead letters only while a replay has a subscriber', () =>
    runMarbles(({ createClient, records, at, expectDeliveries, expectDeadLetters, expectCommits }) => {
      const client = createClient()
      client
        .topic('orders', { dlq: true })
        .subscribe(record => (record.source.kind === 'topic' ? record.fail() : record.ack()))
      records('orders', '              ab---------')
      at('                             ------r----', () => client.replayDlq().subscribe())
      expectDeadLetters().toBe('       ab---------')
      expectDeliveries('orders').toBe('ab----(ab)-')
      expectCommits('dlq').toBe('      ------2----')
    }))
})

describe('faults', () => {
  it('broker away: delivery stops and continues by itself, and nothing is lost', () =>
    runMarbles(({ createClient, records, outage, expectDeliveries, expectCommits, expectEvents }) => {
      createClient()
        .topic('orders')
        .pipe(handle(() => {}))
        .subscribe()
      records('orders', '                                         a--b----c-')
      outage('                                                    --^--!----')
      expectDeliveries('orders').toBe('                           a----b--c-')
      expectCommits('orders').toBe('                              1----2--3-')
      expectEvents({ d: 'disconnected', r: 'reconnected' }).toBe('--d--r----')
    }))

  it('commit refused: retried with the newest position', () =>
    runMarbles(({ createClient, records, failNext, expectCommits, expectErrors }) => {
      createClient()
        .topic('orders')
        .pipe(handle(() => {}))
        .subscribe()
      records('orders', '                    a-b-------')
      failNext('commit', '                   x---------')
      expectErrors({ c: CommitError }).toBe('c---------')
      expectCommits('orders').toBe('         100ms 2')
    }))

  it('handler that never settles: reported once it has held the position for stallAfter', () =>
    runMarbles(({ createClient, records, ack, expectEvents }) => {
      createClient({ stallAfter: 5 }).topic('orders').subscribe()
      records('orders', '                                  --a---------')
      ack('                                                ----------a-')
      expectEvents({ s: 'stalled', u: 'unstalled' }).toBe('-------s--u-')
    }))

  it('position deleted by retention: reported, and reading continues at the first record', () =>
    runMarbles(({ createClient, records, broker, at, start, expectDeliveries, expectErrors, expectCommits }) => {
      const [first, second] = [createClient(), createClient()]
      for (const client of [first, second])
        client
          .topic('orders')
          .pipe(handle(() => {}))
          .subscribe()
      records('orders', '                   a-bcd-----')
      at('                                  -x---d----', {
        x: () => {
          first.close()
        },
        d: () => broker.deleteBefore('orders', 0, 3),
      })
      start('                               -------s--', { client: second })
      expectErrors({ f: FetchError }).toBe('-------f--')
      expectDeliveries('orders').toBe('     a------d--')
      expectCommits('orders').toBe('        1------4--')
    }))
})
