import { filter, firstValueFrom, type Observable, Subject, take, takeUntil, tap, timer, toArray } from 'rxjs'
import { type ClientEvent, type ConsumeRecord, createClient, fork, handle } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { collectGarbage } from '../collect-garbage'

/** Runs a pipeline over ten records. The pipeline must settle or keep those that it does not leak. */
function run(pipeline: (records: Observable<ConsumeRecord>) => Observable<unknown>) {
  const broker = memoryBroker()
  broker.publish(
    'orders',
    Array.from({ length: 10 }, (_, at) => ({ value: `${at}` })),
  )
  const client = createClient({ driver: broker.driver(), group: 'billing', logger: false })
  const leaked = client.events.pipe(
    filter((event): event is ClientEvent & { type: 'leaked' } => event.type === 'leaked'),
  )
  const records = client.topic('orders')
  pipeline(records).subscribe()
  const collecting = timer(1_500, 500).subscribe(() => collectGarbage())
  client.start()
  const end = () => {
    collecting.unsubscribe()
    return client.close()
  }
  return { client, broker, records, leaked, end }
}

describe('leaked records', { timeout: 20_000 }, () => {
  it('reports a record that the pipeline dropped unsettled, by its place', async () => {
    const { leaked, end, client } = run(records =>
      records.pipe(
        filter(({ offset }) => offset !== 3n),
        tap(record => record.ack()),
      ),
    )
    const event = await firstValueFrom(leaked)
    expect(event).toEqual({ type: 'leaked', topic: 'orders', partition: 0, offset: 3n, key: null })
    expect(client.stalls()).toMatchObject([{ topic: 'orders', offset: 3n, why: 'unsettled' }])
    await end()
  })

  it('reports each once, and none that is still referenced', async () => {
    const held: ConsumeRecord[] = []
    const { leaked, broker, end } = run(records =>
      records.pipe(
        tap(record => {
          if (record.offset === 2n) held.push(record)
          else if (record.offset !== 5n && record.offset !== 10n) record.ack()
        }),
      ),
    )
    // The second leak shows that the watch has checked all records again, and has reported neither the first one nor held ones.
    const events = await firstValueFrom(
      leaked.pipe(
        tap(({ offset }) => offset === 5n && broker.publish('orders', { value: '10' })),
        take(2),
        toArray(),
      ),
    )
    expect(events.map(({ offset }) => offset)).toEqual([5n, 10n])
    expect(held[0]!.ack()).toBe(true)
    await end()
    expect(broker.committed('billing', 'orders', 0)).toBe(5n)
  })

  it('watches a thousand at a time, and then the later ones', async () => {
    const held: ConsumeRecord[] = []
    const { leaked, broker, end } = run(records =>
      records.pipe(
        tap(record => {
          if (record.offset < 1_500n) held.push(record)
          else if (record.offset !== 1_600n) record.ack()
        }),
      ),
    )
    broker.publish(
      'orders',
      Array.from({ length: 1_700 }, (_, at) => ({ value: `${at}` })),
    )
    const settling = timer(2_500).subscribe(() => {
      for (const record of held.splice(0)) record.ack()
    })
    expect(await firstValueFrom(leaked)).toMatchObject({ offset: 1_600n })
    // The held record was not reported while the watch checked the thousand records before it.
    expect(held).toEqual([])
    settling.unsubscribe()
    await end()
  })

  it('reports the part that one branch of a fork dropped, even while another keeps its own', async () => {
    const kept: ConsumeRecord[] = []
    const { leaked, end, client } = run(records =>
      records.pipe(
        fork(
          source =>
            source.pipe(
              filter(({ offset }) => offset !== 3n),
              tap(record => record.ack()),
            ),
          source => source.pipe(tap(record => (record.offset < 5n ? kept.push(record) : record.ack()))),
        ),
      ),
    )
    const event = await firstValueFrom(leaked)
    expect(event).toMatchObject({ type: 'leaked', topic: 'orders', partition: 0, offset: 3n })
    expect(client.stalls()).toMatchObject([{ offset: 0n, why: 'unsettled' }])
    expect(kept.map(record => record.ack())).toEqual([true, true, true, true, true])
    expect(client.stalls()).toMatchObject([{ offset: 3n, why: 'unsettled' }])
    await end()
  })

  it('reports parts that a branch left open when it completed, and all later parts', async () => {
    const { leaked, end } = run(records =>
      records.pipe(
        fork(
          source => source.pipe(take(1)),
          handle(() => {}),
        ),
      ),
    )
    const events = await firstValueFrom(leaked.pipe(take(10), toArray()))
    expect(new Set(events.map(({ offset }) => Number(offset)))).toEqual(new Set(Array(10).keys()))
    await end()
  })

  it('redelivers a dropped record to the next subscriber', async () => {
    const stop = new Subject<void>()
    const { records, leaked, end } = run(records =>
      records.pipe(
        tap(record => record.offset !== 0n && record.ack()),
        takeUntil(stop),
      ),
    )
    await firstValueFrom(leaked)
    stop.next()
    const again = await firstValueFrom(records)
    expect([again.offset, again.value?.toString(), again.ack()]).toEqual([0n, '0', true])
    await end()
  })
})
