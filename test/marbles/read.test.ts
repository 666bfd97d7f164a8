import { map, of, take } from 'rxjs'
import { ClientClosedError, ConfigurationError, FetchError, type ReadRecord } from 'rxmika'
import { runMarbles } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'

// `client.read` on the memory broker, in virtual time: RxJS's list of cases, and those that only Kafka has.

const letter = map((record: ReadRecord) => String(record.value))
const values = (...letters: string[]) => letters.map(value => ({ value }))

describe('read', () => {
  it('completes at once if there are no records', () =>
    runMarbles(({ createClient, broker, expectObservable }) => {
      broker.createTopic('orders', 2)
      expectObservable(createClient().read('orders').pipe(letter)).toBe('|')
    }))

  it('emits records that existed at subscription, and no later ones', () =>
    runMarbles(({ createClient, broker, records, expectObservable }) => {
      broker.publish('orders', values('a', 'b'))
      records('orders', '                 ----c----')
      const read = createClient().read('orders').pipe(letter)
      expectObservable(read, '             --^------').toBe('--(ab|)--')
      expectObservable(read, '             ------^--').toBe('------(abc|)')
    }))

  it('continues without end until it is unsubscribed', () =>
    runMarbles(({ createClient, records, expectObservable }) => {
      records('orders', '      a---b---c---d')
      const read = createClient().read('orders', { until: 'forever' }).pipe(letter)
      expectObservable(read, '  ^--------!---').toBe('a---b---c----')
      expectObservable(read.pipe(take(2))).toBe('a---(b|)')
      const late = createClient().read('orders', { from: 'latest', until: 'forever' }).pipe(letter)
      expectObservable(late, '  -^-----!-----').toBe('----b----')
    }))

  it('reads by time: from the first record at or after `from`, up to the first at or after `until`', () =>
    runMarbles(({ createClient, broker, expectObservable }) => {
      broker.publish(
        'orders',
        [10, 20, 30].map(timestamp => ({ value: `${timestamp / 10}`, timestamp })),
      )
      const read = (from: number, until: number) =>
        createClient()
          .read('orders', { from: new Date(from), until: new Date(until) })
          .pipe(letter)
      expectObservable(read(15, 30)).toBe('(2|)')
      expectObservable(read(0, 31)).toBe('(123|)')
      expectObservable(read(0, 10)).toBe('|')
    }))

  it('completes over gaps and markers, even at the end of the log', () =>
    runMarbles(({ createClient, broker, expectObservable }) => {
      broker.publish('orders', values('a', 'b', 'c', 'd'))
      broker.appendMarker('orders', 0)
      broker.compact('orders', 0, [1])
      const read = createClient().read('orders').pipe(letter)
      expectObservable(read).toBe('(b|)')
      expectObservable(
        createClient()
          .read('orders', { from: new Map([[0, 2n]]) })
          .pipe(letter),
      ).toBe('|')
    }))

  it('continues at the new log start when retention deletes the next records, and reports that', () =>
    runMarbles(
      ({ createClient, broker, at, expectObservable, expectErrors }) => {
        broker.publish('orders', values('a', 'b'))
        broker.publish('orders', values('c', 'd'))
        const read = createClient().read('orders').pipe(letter)
        expectObservable(read).toBe('           ------(ab)(d|)')
        at('                                    -------x------', () => broker.deleteBefore('orders', 0, 3))
        expectErrors({ f: FetchError }).toBe('  --------f-----')
      },
      { latency: 2, maxBatchRecords: 2 },
    ))

  it('waits while the broker is away, and continues', () =>
    runMarbles(({ createClient, records, outage, expectObservable }) => {
      records('orders', '                                                 a--b---c-')
      outage('                                                            --^--!---')
      expectObservable(createClient().read('orders', { until: 'forever' }).pipe(letter), '^-------!').toBe('a----b-c-')
    }))

  it('ends with a ClientClosedError when the client closes', () =>
    runMarbles(({ createClient, records, start, closeGracefully, expectObservable }) => {
      records('orders', '        a---------')
      const client = createClient()
      start('                    s---------')
      closeGracefully('          ----x-----')
      const read = client.read('orders', { until: 'forever' }).pipe(letter)
      const closed = new ClientClosedError('the client closed before the read was done; make another client to read on')
      expectObservable(read).toBe('a---#', undefined, closed)
    }))

  it('errors if the topic or partition does not exist', () =>
    runMarbles(
      ({ createClient, broker, expectObservable }) => {
        broker.createTopic('orders', 2)
        const none = new ConfigurationError("topic 'none' does not exist")
        expectObservable(createClient().read('none').pipe(letter)).toBe('#', undefined, none)
        const missing = 'read: partition orders-2 does not exist (the topic has 2 partitions)'
        const read = createClient().read('orders', { partitions: [2] })
        expectObservable(read.pipe(letter)).toBe('#', undefined, new ConfigurationError(missing))
      },
      { autoCreate: false },
    ))

  it('stops if its subscriber throws, without an effect on the client', () =>
    runMarbles(({ createClient, broker, expectObservable }) => {
      broker.publish('orders', values('a', 'b', 'c'))
      const client = createClient()
      const broken = client.read('orders').pipe(
        map(({ value }) => {
          if (String(value) === 'b') throw new Error('no b')
          return String(value)
        }),
      )
      expectObservable(broken).toBe('(a#)', undefined, new Error('no b'))
      expectObservable(client.read('orders').pipe(letter)).toBe('(abc|)')
    }))

  it('can be subscribed to during one of its own emissions', () =>
    runMarbles(({ createClient, broker }) => {
      broker.publish('orders', values('a', 'b'))
      const client = createClient()
      const seen: string[] = []
      client.read('orders').subscribe(outer =>
        client.read('orders').subscribe({
          next: inner => seen.push(`${outer.value}${inner.value}`),
          complete: () => seen.push(`${outer.value}|`),
        }),
      )
      of(0).subscribe({ complete: () => expect(seen).toEqual([]) })
      return () => expect(seen.sort()).toEqual(['aa', 'ab', 'a|', 'ba', 'bb', 'b|'].sort())
    }))
})
