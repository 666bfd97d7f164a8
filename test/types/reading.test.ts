import { map, type Observable } from 'rxjs'
import { type Client, createClient, deadLetterOf, handle, type Place, type ReadRecord } from 'rxmika'
import { expectTypeOf, it } from 'vitest'

const client: Client = undefined as never

it('a bounded read is a stream and an iterable of records that are not settled', () => {
  const read = () => client.read('orders', { from: new Map([[0, 1n]]), until: new Date() })
  expectTypeOf(read).returns.toEqualTypeOf<Observable<ReadRecord> & AsyncIterable<ReadRecord>>()
  expectTypeOf<ReadRecord['value']>().toEqualTypeOf<Buffer | null>()
  return () => [
    // @ts-expect-error there is nothing to settle
    read().subscribe(record => record.ack()),
    // @ts-expect-error nor to handle
    read().pipe(handle(() => {})),
    // @ts-expect-error offsets are bigints
    client.read('orders', { from: new Map([[0, 1]]) }),
    // @ts-expect-error committed is of a group
    client.read('orders', { from: 'committed' }),
    // @ts-expect-error end is caught-up
    client.read('orders', { until: 'end' }),
    // @ts-expect-error an array
    client.read('orders', { partitions: 3 }),
    read().pipe(map(record => deadLetterOf(record)?.reason)),
  ]
})

it('a seek needs a target, and positions have all three parts', () => {
  expectTypeOf<Client['seek']>().returns.toEqualTypeOf<Promise<readonly Place[]>>()
  return () => [
    client.seek('orders', { partition: 0, offset: 5n }),
    // @ts-expect-error offsets are bigints
    client.seek('orders', { offset: 5 }),
    // @ts-expect-error a partition alone is nowhere
    client.seek('orders', { partition: 5 }),
    // @ts-expect-error committed is where it is
    client.seek('orders', 'committed'),
    createClient({ positions: assigned => assigned.map(place => ({ ...place, offset: 0n })) }),
    createClient({ positions: async assigned => assigned.map(place => ({ ...place, offset: 0n })) }),
    // @ts-expect-error without an offset
    createClient({ positions: assigned => [...assigned] }),
  ]
})
