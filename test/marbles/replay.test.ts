import { fixed } from 'rxmika'
import { runMarbles } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'

const dead = { headers: { mika_err_group_org_topic: 'orders', mika_err_group_retries: '2' } }
const letters = (names: string) => Object.fromEntries([...names].map(name => [name, dead]))

describe('replayDlq with a rate', () => {
  it('delivers the given number of records a second, evenly', () =>
    runMarbles(({ createClient, records, at, expectPublished, expectObservable, expectCommits }) => {
      const client = createClient()
      client.topic('orders', { dlq: true }).subscribe(record => record.ack())
      records('dlq', '              (abc)----------------------', letters('abc'))
      at('                          ------r', () => client.replayDlq({ rate: 100 }).subscribe())
      expectCommits('dlq').toBe('   ------1---------2---------3')
      expectPublished('orders').toBe('---------------')
      expectObservable(client.errors).toBe('---')
    }))

  it('does not catch up on turns that were not used', () =>
    runMarbles(({ createClient, records, at, expectCommits }) => {
      const client = createClient()
      client.topic('orders', { dlq: true }).subscribe(record => record.ack())
      records(
        'dlq',
        '              a----------------------------------------------------(bc)----------------',
        letters('abc'),
      )
      at('                          -r', () =>
        client.replayDlq({ until: 'forever', rate: 100 }).subscribe({ error: () => {} }),
      )
      expectCommits('dlq').toBe('   -1---------------------------------------------------2---------3')
    }))

  it('does not deliver a burst of records that an earlier replay fetched', () =>
    runMarbles(({ createClient, records, at, expectCommits }) => {
      const client = createClient()
      client.topic('orders', { dlq: true }).subscribe(record => record.ack())
      records('dlq', '              (abcd)', letters('abcd'))
      let first = { unsubscribe() {} }
      at('                          ------p-r-u-s-----t', {
        p: () => client.pause('orders'),
        r: () => {
          first = client.replayDlq().subscribe()
        },
        u: () => first.unsubscribe(),
        s: () => client.resume('orders'),
        t: () => client.replayDlq({ rate: 200 }).subscribe(),
      })
      expectCommits('dlq').toBe('   ------------------1----2----3----4')
    }))

  it('ends its turns with its subscription', () =>
    runMarbles(({ createClient, records, at, expectCommits }) => {
      const client = createClient()
      client.topic('orders', { dlq: true }).subscribe(record => record.ack())
      records('dlq', '              (abcd)', letters('abcd'))
      let replay = { unsubscribe() {} }
      at('                          ------r--------------u', {
        r: () => {
          replay = client.replayDlq({ rate: 100 }).subscribe()
        },
        u: () => replay.unsubscribe(),
      })
      expectCommits('dlq').toBe('   ------1---------2---------')
    }))
})

describe('replayDlq with attempts', () => {
  const setUp = (attempts: 'keep' | 'fresh' | undefined) => {
    const tried: number[] = []
    let copies: (string | undefined)[] = []
    runMarbles(({ createClient, broker, records, at }) => {
      const client = createClient()
      client.topic('orders', { retries: 2, backoff: fixed(5), dlq: true }).subscribe(record => {
        tried.push(record.attempt)
        record.fail(new Error('still no'))
      })
      records('dlq', '(a)', letters('a'))
      at('            ---r', () => client.replayDlq({ attempts }).subscribe())
      at('            ---- 100ms x', () => {
        copies = broker.records('dlq').map(({ headers }) => String(headers.mika_err_group_retries))
      })
    })
    return { tried, copies }
  }

  it.each(['keep', undefined] as const)('%s: continues with the retries it has had', attempts => {
    expect(setUp(attempts)).toEqual({ tried: [3], copies: ['2', '2'] })
  })

  it('fresh: starts a record at attempt 1', () => {
    expect(setUp('fresh')).toEqual({ tried: [1, 2, 3], copies: ['2', '2'] })
  })

  it('fresh: passes a filter the real attempt', () => {
    const seen: number[] = []
    runMarbles(({ createClient, records, at, expectCommits }) => {
      const client = createClient()
      client.topic('orders', { dlq: true }).subscribe(record => {
        seen.push(record.attempt)
        record.ack()
      })
      records('dlq', '           (a)', letters('a'))
      const filter = ({ attempt }: { attempt: number }) => seen.push(attempt) > 0
      at('                       ---r', () => client.replayDlq({ attempts: 'fresh', filter }).subscribe())
      expectCommits('dlq').toBe('---1')
    })
    expect(seen).toEqual([3, 1])
  })
})
