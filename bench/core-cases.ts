import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Observable, Subject, type Subscriber } from 'rxjs'
import type { BarrierSignal, ConsumeRecord } from 'rxmika'

/** A folder with the compiled modules of one commit. */
export class Build {
  constructor(readonly folder: string) {}

  async load() {
    const file = (name: string) => import(pathToFileURL(join(this.folder, name)).href)
    const rxmika: typeof import('rxmika') = await file('index.js')
    const testing: typeof import('rxmika/testing') = await file('testing/index.js')
    const { DeliveredRecord }: typeof import('../src/record.js') = await file('record.js')
    return { ...rxmika, ...testing, DeliveredRecord }
  }
}

/** Resolves to the time per record, ns. */
export type Case = (build: Build) => Promise<number>

/** Completes records in random order within a window, as slow handlers do. */
function barrier(window: number): Case {
  return async build => {
    const { completionBarrier, DeliveredRecord } = await build.load()
    const windows = Math.max(3, Math.ceil(3_000_000 / window))
    const order = shuffled(window)
    const owner = { topic: 'orders', partition: 0, ended: false }
    const flush = new Subject<void>()
    let signals!: Subscriber<BarrierSignal>
    let position = 0n
    new Observable<BarrierSignal>(subscriber => {
      signals = subscriber
    })
      .pipe(completionBarrier(Number.POSITIVE_INFINITY, { flush }))
      .subscribe(point => {
        position = point.offset
      })
    let elapsed = 0
    for (let round = 0; round < windows; round++) {
      const first = round * window
      const batch = { offset: (index: number) => first + index }
      const records = Array.from(
        { length: window },
        (_, at) => new DeliveredRecord(owner as never, batch as never, at, first + at, undefined, 0) as ConsumeRecord,
      )
      const began = performance.now()
      for (const record of records) signals.next({ type: 'delivered', record })
      for (const at of order) signals.next({ type: 'completed', record: records[at]! })
      flush.next()
      elapsed += performance.now() - began
    }
    if (position !== BigInt(windows * window)) throw new Error(`the barrier stands at ${position}`)
    return (elapsed / (windows * window)) * 1e6
  }
}

/** Only reads one field of each record in the same random order: a lower bound for any barrier. */
function readOnly(window: number): Case {
  return async build => {
    const { DeliveredRecord } = await build.load()
    const order = shuffled(window)
    const owner = { topic: 'orders', partition: 0, ended: false }
    const batch = { offset: (index: number) => index }
    const records = Array.from(
      { length: window },
      (_, at) => new DeliveredRecord(owner as never, batch as never, at, at, undefined, 0),
    )
    const began = performance.now()
    let slots = 0
    for (let round = 0; round < 3; round++) for (const at of order) slots += records[at]!.slot
    const elapsed = performance.now() - began
    if (slots !== (3 * window * (window - 1)) / 2) throw new Error(`the slots add up to ${slots}`)
    return (elapsed / (3 * window)) * 1e6
  }
}

const consumed = 500_000

/** Runs a whole client on the memory broker until it has handled all records. */
function client(work: 'tap' | 'none' | 'key' | 'partition'): Case {
  return async build => {
    const { createClient, handle, memoryBroker } = await build.load()
    const broker = memoryBroker()
    for (let at = 0; at < consumed; at += 10_000) {
      broker.publish(
        'orders',
        Array.from({ length: 10_000 }, (_, index) => ({ key: `key-${index}`, value: 'x'.repeat(100), partition: 0 })),
      )
    }
    const client = createClient({ driver: broker.driver(), group: 'billing', logger: false })
    const began = performance.now()
    await new Promise<void>(resolve => {
      let left = consumed
      const see = (record: ConsumeRecord) => {
        record.value
        if (--left === 0) resolve()
      }
      const orders = client.topic('orders')
      if (work === 'tap') {
        orders.subscribe(record => {
          see(record)
          record.ack()
        })
      } else orders.pipe(handle(async record => see(record), { order: work, concurrency: 64 })).subscribe()
      client.start()
    })
    const elapsed = performance.now() - began
    await client.close()
    return (elapsed / consumed) * 1e6
  }
}

export const cases: { readonly [name: string]: Case } = {
  'barrier, window of 100': barrier(100),
  'barrier, window of 10,000': barrier(10_000),
  'barrier, window of 1,000,000': barrier(1_000_000),
  'no barrier, one read of each of 1,000,000': readOnly(1_000_000),
  'client in memory, tap(ack)': client('tap'),
  "client in memory, handle(async), order 'none'": client('none'),
  "client in memory, handle(async), order 'key'": client('key'),
  "client in memory, handle(async), order 'partition'": client('partition'),
}

/** A random order that is the same in every run. */
function shuffled(length: number): Uint32Array {
  const order = Uint32Array.from({ length }, (_, at) => at)
  let seed = 42
  for (let at = length - 1; at > 0; at--) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    const other = seed % (at + 1)
    const moved = order[at]!
    order[at] = order[other]!
    order[other] = moved
  }
  return order
}
