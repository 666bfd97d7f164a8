import { delay, merge, mergeMap, of, share, tap, throwError, timer } from 'rxjs'
import { discard, handle } from 'rxmika'
import { runMarbles } from 'rxmika/testing'
import { describe, it } from 'vitest'

describe('events of a client', () => {
  it('reports a failure that an earlier ack of the same record hides, and commits by that ack', () => {
    runMarbles(({ createClient, records, expectCommits, expectEvents }) => {
      const orders = createClient({ commitInterval: 1 }).topic('orders', { onFail: discard() }).pipe(share())
      const audit = handle(() => of('audited').pipe(delay(2)), { order: 'none' })
      const charge = handle(() => timer(5).pipe(mergeMap(() => throwError(() => new Error('declined')))), {
        order: 'none',
      })
      merge(orders.pipe(audit), orders.pipe(charge)).subscribe()
      records('orders', '                       a-b---------')
      expectCommits('orders').toBe('            --1-2-------')
      expectEvents({ o: 'outrun', d: 'discarded' }).toBe('-----o-o----')
    })
  })

  it('reports that a position is held back, and that it no longer is when its record is settled', () => {
    runMarbles(({ createClient, records, expectEvents }) => {
      createClient({ stallAfter: 5 })
        .topic('orders')
        .pipe(
          delay(8),
          tap(record => record.ack()),
        )
        .subscribe()
      records('orders', '                           a------------')
      expectEvents({ s: 'stalled', u: 'unstalled' }).toBe('-----s--u----')
    })
  })
})
