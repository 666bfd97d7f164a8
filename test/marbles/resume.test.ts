import { map, pipe } from 'rxjs'
import { breaker, deadLetter, discard, FloodError, isRxMikaError, PublishError, UnroutableFailureError } from 'rxmika'
import { runMarbles } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'

const refused = new PublishError('the DLQ topic takes nothing', { retriable: false })

describe('resume, for unroutable records', () => {
  it('routes them again, and the position moves when their copies are acknowledged', () =>
    runMarbles(({ createClient, records, fail, ack, at, failNext, expectDeadLetters, expectCommits, expectErrors }) => {
      const client = createClient()
      client.topic('orders', { dlq: true }).subscribe()
      records('orders', '                                              abc-------')
      failNext('produce', '                                            -x--------', { x: refused })
      fail('                                                           ---b------')
      ack('                                                            --a-c-----')
      at('                                                             -------r--', () => client.resume('orders'))
      expectErrors({ p: PublishError, u: UnroutableFailureError }).toBe('---(pu)')
      expectDeadLetters().toBe('                                       -------b--')
      expectCommits('orders').toBe('                                   --1----3--')
    }))

  it('holds a record again each time that its route breaks', () =>
    runMarbles(({ createClient, records, at, expectErrors, expectEvents, expectCommits }) => {
      const client = createClient()
      client.topic('orders').subscribe(record => record.fail(new Error('no')))
      records('orders', '                                    a---------')
      at('                                                   --r--r----', () => client.resume('orders'))
      expectErrors({ u: UnroutableFailureError }).toBe('     u-u--u----')
      // It was not paused.
      expectEvents({ p: 'paused', r: 'resumed' }).toBe('     ----------')
      expectCommits('orders').toBe('                         ----------')
    }))

  it('affects only the given topic', () =>
    runMarbles(({ createClient, records, at, expectErrors }) => {
      const client = createClient()
      for (const topic of ['orders', 'refunds']) client.topic(topic).subscribe(record => record.fail())
      records('orders', '                                a-----')
      records('refunds', '                               -b----')
      at('                                               ---r--', () => client.resume('refunds'))
      expectErrors({ u: UnroutableFailureError }).toBe(' uu-u--')
    }))

  it('uses a route that was rebuilt', () => {
    let down = true
    runMarbles(({ createClient, records, at, expectDeadLetters, expectErrors, expectCommits }) => {
      const client = createClient()
      const fragile = map(<T>(failed: T) => {
        if (down) throw new Error('a step of the user’s own is down')
        return failed
      })
      client.topic('orders', { onFail: pipe(fragile, deadLetter(client)) }).subscribe(record => record.fail())
      records('orders', '                                a-b------')
      at('                                               -----ur--', {
        u: () => {
          down = false
        },
        r: () => client.resume('orders'),
      })
      expectErrors({ u: UnroutableFailureError }).toBe(' u-u------')
      expectDeadLetters().toBe('                         ------(ab)')
      expectCommits('orders').toBe('                     ------2---')
    })
  })

  it('holds a record again if a breaker then trips, and pauses the topic', () =>
    runMarbles(({ createClient, records, at, failNext, expectErrors, expectEvents, expectDeadLetters }) => {
      const client = createClient()
      const onFail = pipe(breaker(client, { failures: 1, within: 3 }), deadLetter(client))
      client.topic('orders', { onFail }).subscribe(record => record.fail())
      failNext('produce', '                                                     x----x------', { x: refused })
      records('orders', '                                                       a----b------')
      at('                                                                      ---------r-s', () =>
        client.resume('orders'),
      )
      expectErrors({ p: PublishError, u: UnroutableFailureError, f: FloodError }).toBe('(pu)-(pu)f')
      expectEvents({ t: 'tripped', r: 'resumed' }).toBe('          ---------t-r')
      expectDeadLetters().toBe('                                                ---------a-b')
    }))

  it('forgets records of revoked partitions, which their next owner redelivers', () =>
    runMarbles(({ createClient, records, at, lose, expectDeliveries, expectErrors, expectEvents, expectCommits }) => {
      const client = createClient()
      let fails = true
      client.topic('orders', { onFail: discard() }).subscribe(record => record.ack())
      client.topic('refunds').subscribe(record => (fails ? record.fail() : record.ack()))
      records('refunds', '                               a-------')
      lose('refunds', '                                  --l-----')
      at('                                               -f---r--', {
        f: () => {
          fails = false
        },
        r: () => client.resume('refunds'),
      })
      expectDeliveries('refunds').toBe('                 a-a-----')
      expectErrors({ u: UnroutableFailureError }).toBe(' u-------')
      expectCommits('refunds').toBe('                    --1-----')
      expectEvents({ d: 'discarded' }).toBe('            --------')
    }))

  it('also routes records whose topic is not registered', () => {
    const orphan = { headers: { mika_err_group_org_topic: 'gone', mika_err_group_retries: '1' } }
    runMarbles(({ createClient, records, at, failNext, expectDeadLetters, expectCommits, expectErrors }) => {
      const client = createClient()
      client.topic('orders', { retries: 1 }).subscribe()
      failNext('produce', '                              x-------', { x: refused })
      records('retry', '                                 -a------', { a: orphan })
      at('                                               ----r---', () => client.resume('orders'))
      expectErrors({ p: PublishError, u: UnroutableFailureError }).toBe('-(pu)')
      expectDeadLetters().toBe('                         ----a---')
      expectCommits('retry').toBe('                      ----1---')
    })
  })

  it('explains in the error how to continue', () => {
    const errors: string[] = []
    runMarbles(({ createClient, records, failNext }) => {
      const client = createClient()
      client.errors.subscribe(error => {
        if (isRxMikaError(error, 'RXMIKA_UNROUTABLE_FAILURE')) errors.push(error.message)
      })
      client.topic('orders', { dlq: true }).subscribe(record => record.fail())
      failNext('produce', 'x', { x: refused })
      records('orders', '  -a')
    })
    expect(errors).toEqual([expect.stringMatching(/orders-0@0 .*the DLQ topic takes nothing.*resume\(\)/)])
  })
})
