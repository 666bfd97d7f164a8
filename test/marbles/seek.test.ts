import { NEVER, of, throwError } from 'rxjs'
import { type ConsumeRecord, FetchError, handle } from 'rxmika'
import { runMarbles } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'

// `client.seek` and the option `positions`, in virtual time. Digits are committed positions.

const values = (...letters: string[]) => letters.map(value => ({ value }))

describe('seek', () => {
  it('commits the new position, even backwards, and delivers from there', () =>
    runMarbles(({ createClient, broker, at, expectDeliveries, expectCommits, expectEvents }) => {
      broker.publish('orders', values('a', 'b', 'c'))
      const client = createClient()
      client
        .topic('orders')
        .pipe(handle(() => {}))
        .subscribe()
      at('                              -----s-----', () => void client.seek('orders', { offset: 1n }))
      expectDeliveries('orders').toBe(' (abc)(bc)-')
      expectEvents({ m: 'moved' }).toBe('-----m-----')
      expectCommits('orders').toBe('    3----(13)--')
    }))

  it('sends no earlier commit after its own', () =>
    runMarbles(
      ({ createClient, broker, ack, at, expectCommits, expectDeliveries }) => {
        broker.publish('orders', values('a', 'b', 'c'))
        const client = createClient()
        client.topic('orders').subscribe()
        expectDeliveries('orders').toBe('25ms (abc)-------------(abc)')
        // The commit of 2 is in flight when `seek` is called, and c is acked after that.
        ack('                            25ms -----ab----c---------')
        at('                             25ms --------s------------', () => void client.seek('orders', 'earliest'))
        expectCommits('orders').toBe('   25ms ----------1----2----0')
      },
      { latency: 5 },
    ))

  it('releases records in flight: their signals abort, and settling them has no effect', () =>
    runMarbles(({ createClient, broker, at, expectCommits, expectEvents }) => {
      broker.publish('orders', values('a', 'b'))
      const seen: ConsumeRecord[] = []
      const client = createClient()
      client.topic('orders').subscribe(record => seen.push(record))
      at('                                  --s--a-----', {
        s: () => {
          expect(seen[0]!.signal.aborted).toBe(false)
          void client.seek('orders', { offset: 1n })
        },
        a: () => {
          expect(seen.map(({ value }) => String(value))).toEqual(['a', 'b', 'b'])
          expect(seen[0]!.signal.aborted).toBe(true)
          expect([seen[0]!.ack(), seen[1]!.fail('no'), seen[2]!.ack()]).toEqual([false, false, true])
        },
      })
      expectEvents({ l: 'late-settlement' }).toBe('-----(ll)--')
      expectCommits('orders').toBe('        --1--2-----')
    }))

  it('moves only assigned partitions of the topic', () =>
    runMarbles(({ createClient, records, at, expectDeliveries }) => {
      const client = createClient()
      for (const topic of ['orders', 'others']) {
        client
          .topic(topic)
          .pipe(handle(() => {}))
          .subscribe()
      }
      records('orders', '               ab--------')
      records('others', '               ab--------')
      at('                              ----s-----', () => void client.seek('orders', 'earliest'))
      expectDeliveries('orders').toBe(' ab--(ab)-')
      expectDeliveries('others').toBe(' ab--------')
    }))

  it('is committed before a graceful close ends, and before partitions are revoked', () =>
    runMarbles(({ createClient, broker, at, closeGracefully, expectCommits }) => {
      broker.publish('orders', values('a', 'b', 'c'))
      const client = createClient()
      client.topic('orders').subscribe(record => record.ack())
      at('                          ----s-----', () => void client.seek('orders', { offset: 1n }).catch(() => {}))
      closeGracefully('             -----x----')
      expectCommits('orders').toBe('3---(13)--')
    }))

  it('rejects if the member loses the partition, and reports that on errors', () =>
    runMarbles(
      ({ createClient, broker, at, lose, expectErrors }) => {
        broker.publish('orders', values('a'))
        const client = createClient()
        client.topic('orders').subscribe(record => record.ack())
        at('                    60ms s---------', () => void client.seek('orders', 'earliest'))
        lose('orders', '        60ms ------l---')
        // The seek, and the commit that was in flight.
        expectErrors().toBe('   60ms ------x---x')
      },
      { latency: 5 },
    ))
})

describe('positions', () => {
  it("decides where reading begins, and the group's position follows", () =>
    runMarbles(({ createClient, broker, expectDeliveries, expectCommits }) => {
      broker.publish('orders', values('a', 'b', 'c'))
      createClient({ positions: () => [{ topic: 'orders', partition: 0, offset: 2n }] })
        .topic('orders')
        .subscribe()
      expectDeliveries('orders').toBe('c---')
      expectCommits('orders').toBe('   2---')
    }))

  it('is called again, with growing pauses, while it fails', () =>
    runMarbles(({ createClient, broker, expectDeliveries, expectErrors }) => {
      broker.publish('orders', values('a', 'b'))
      let calls = 0
      const positions = () =>
        ++calls < 4 ? throwError(() => new Error('away')) : of([{ topic: 'orders', partition: 0, offset: 1n }])
      createClient({ positions }).topic('orders').subscribe()
      expectErrors({ f: FetchError }).toBe('f 99ms f 199ms f')
      expectDeliveries('orders').toBe('     700ms b')
    }))

  it('is called for partitions that are assigned again, and not for those that stay', () =>
    runMarbles(({ createClient, records, lose, expectDeliveries }) => {
      let next = 0n
      const asked: number[] = []
      const positions = (assigned: readonly { topic: string; partition: number }[]) => {
        asked.push(assigned.length)
        return assigned.map(place => ({ ...place, offset: next }))
      }
      createClient({ positions })
        .topic('orders')
        .pipe(
          handle(({ offset }) => {
            next = offset + 1n
          }),
        )
        .subscribe()
      records('orders', '              ab----c--')
      lose('orders', '                 ----l----')
      expectDeliveries('orders').toBe('ab----c--')
      return () => expect(asked).toEqual([1, 1])
    }))

  it('does not delay a graceful close while it does not answer', () =>
    runMarbles(({ createClient, broker, closeGracefully, expectState }) => {
      broker.publish('orders', values('a'))
      createClient({ positions: () => NEVER })
        .topic('orders')
        .subscribe()
      closeGracefully('      ------x---')
      expectState().toBe('   (isr)-(dc)')
    }))
})
