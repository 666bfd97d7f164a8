import fc from 'fast-check'
import { ignoreElements, mergeMap, type Observable, of, pipe, tap, throwError, timer } from 'rxjs'
import { type ConsumeRecord, createClient, discard, fixed, fork, handle, keep, redeliver, retryTopic } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, it } from 'vitest'
import { Clock } from '../unit/clock.js'

/** What one branch does with one attempt of a record. */
interface Work {
  readonly takes: number
  readonly how: 'ack' | 'fail' | 'drop'
}

interface Plan {
  /** True: a branch may drop a record at one attempt and handle it at the next, so its order changes. */
  readonly fickle: boolean
  readonly branches: readonly { readonly order: 'partition' | 'key' | 'none'; readonly concurrency: number }[]
  readonly partitions: 1 | 2
  readonly route: 'redeliver' | 'retry-topic'
  readonly backoff: number
  /** By branch and attempt. The default is an immediate ack. */
  readonly records: readonly {
    readonly key: string | null
    readonly at: number
    readonly work: readonly (readonly Work[])[]
  }[]
  readonly faults: readonly { readonly at: number; readonly kind: 'revoke' | 'lose' }[]
}

const work = fc.record<Work>({
  takes: fc.constantFrom(0, 0, 1, 5),
  how: fc.constantFrom('ack', 'ack', 'fail', 'drop'),
})
const plans: fc.Arbitrary<Plan> = fc.record<Plan>({
  fickle: fc.boolean(),
  branches: fc.array(
    fc.record({ order: fc.constantFrom('partition', 'key', 'key', 'none'), concurrency: fc.constantFrom(1, 2, 64) }),
    { minLength: 1, maxLength: 3 },
  ),
  partitions: fc.constantFrom(1, 2),
  route: fc.constantFrom('redeliver', 'retry-topic'),
  backoff: fc.constantFrom(0, 3, 15),
  records: fc.array(
    fc.record({
      key: fc.constantFrom('a', 'a', 'b', null),
      at: fc.constantFrom(0, 0, 4, 12),
      work: fc.array(fc.array(work, { maxLength: 3 }), { maxLength: 3 }),
    }),
    { minLength: 1, maxLength: 8 },
  ),
  faults: fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    {
      weight: 1,
      arbitrary: fc.array(fc.record({ at: fc.integer({ min: 0, max: 30 }), kind: fc.constantFrom('revoke', 'lose') }), {
        maxLength: 2,
      }),
    },
  ),
})

/** A delivered record, and how its branches settled it. */
interface Seen {
  readonly id: string
  readonly parts: Map<number, 'acked' | 'failed'>
  completed: boolean
}

async function play({ fickle, branches, partitions, route, backoff, records, faults }: Plan): Promise<void> {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions })
  const client = createClient({ driver: broker.driver(), group: 'billing', retryTopic: 'retry', logger: false })
  const tryAgain =
    route === 'redeliver'
      ? redeliver(client, { attempts: 4, backoff: fixed(backoff) })
      : retryTopic(client, { retries: 3, backoff: fixed(backoff) })

  const log: string[] = []
  const note = (line: string) => log.push(`${String(clock.now()).padStart(4)} ${line}`)
  const broken: string[] = []
  const check = (holds: boolean, wrong: string) => {
    if (holds) return
    broken.push(wrong)
    note(`WRONG ${wrong}`)
  }
  const deliveries = new Map<string, Seen>()
  const idOf = ({ source: { topic, partition, offset } }: ConsumeRecord) => `${topic}-${partition}@${offset}`
  /** Completed records, by place. */
  const done = new Set<string>()
  client.events.subscribe(event => {
    if (event.type === 'retried' || event.type === 'discarded')
      done.add(`${event.topic}-${event.partition}@${event.offset}`)
    // The next owner gets the records that were not committed.
    if (event.type === 'revoked' || event.type === 'lost') {
      note(`${event.type} ${event.topic}-${event.partition}`)
      for (const id of deliveries.keys()) {
        if (id.startsWith(`${event.topic}-${event.partition}@`)) deliveries.delete(id)
      }
    }
  })

  const watched = (source: Observable<ConsumeRecord>) =>
    source.pipe(
      tap(record => {
        const id = idOf(record)
        const seen: Seen = { id, parts: new Map(), completed: false }
        deliveries.set(id, seen)
        note(`delivered ${id} #${record.attempt}`)
        for (const how of ['ack', 'fail'] as const) {
          const settle = record[how].bind(record) as (...rest: unknown[]) => boolean
          Object.defineProperty(record, how, {
            value: (...rest: unknown[]) => {
              if (!record.signal.aborted && !record.settled) {
                const parts = [...seen.parts.values()]
                note(`${how} ${id}`)
                check(parts.length === branches.length, `${id} is settled by ${parts.length} of its branches`)
                check(parts.every(part => part === 'acked') === (how === 'ack'), `${id} ${how} after ${parts}`)
                if (how === 'ack') done.add(id)
              }
              return settle(...rest)
            },
          })
        }
      }),
    )

  const branch = (at: number) => {
    const workOf = (record: ConsumeRecord): Work => {
      const { work: all } = records[Number(record.value)]!
      return all[at]?.[record.attempt - 1] ?? { takes: 0, how: 'ack' }
    }
    const begun: ConsumeRecord[] = []
    const settled = (record: ConsumeRecord, how: 'acked' | 'failed') => {
      // The work of a lost delivery continues, and does not count for the next delivery.
      if (record.signal.aborted) return
      note(`branch ${at} ${how} ${idOf(record)}`)
      deliveries.get(idOf(record))?.parts.set(at, how)
    }
    const { order, concurrency } = branches[at]!
    return pipe(
      keep((record: ConsumeRecord) => {
        const [always] = records[Number(record.value)]!.work[at] ?? []
        const kept = (fickle ? workOf(record) : always)?.how !== 'drop'
        if (!kept) settled(record, 'acked')
        return kept
      }),
      handle(
        (record: ConsumeRecord) => {
          const id = idOf(record)
          if (order === 'key' && !fickle && record.key !== null && record.source.kind === 'topic') {
            // All earlier records of this key must be completed, whichever branch was slow.
            for (const before of begun) {
              if (before.signal !== record.signal || before.offset >= record.offset) continue
              if (String(before.key) !== String(record.key)) continue
              const place = idOf(before)
              check(done.has(place), `branch ${at}: ${id} begun before ${place} is completed`)
            }
            begun.push(record)
          }
          const { takes, how } = workOf(record)
          const end = () => {
            settled(record, how === 'fail' ? 'failed' : 'acked')
            return how === 'fail' ? throwError(() => new Error(`branch ${at}`)) : of(1)
          }
          return takes === 0 ? end() : timer(takes, clock).pipe(mergeMap(end))
        },
        { order, concurrency },
      ),
      ignoreElements(),
    )
  }

  const [first, ...others] = branches.map((_, at) => branch(at))
  const errors: unknown[] = []
  client
    .topic('orders', { onFail: pipe(tryAgain, discard()) })
    .pipe(watched, fork(first!, ...others))
    .subscribe({ error: error => errors.push(error) })
  broker.createTopic('orders', partitions)
  broker.createTopic('retry', partitions)
  for (const [at, record] of records.entries()) {
    clock.schedule(() => broker.publish('orders', [{ key: record.key, value: String(at) }]), record.at)
  }
  for (const { at, kind } of faults) {
    clock.schedule(() => {
      if (broker.group('billing')?.state === 'stable') broker[kind]('billing', 'orders', 0)
    }, at)
  }
  client.start()
  clock.runTo(2_000)
  for (const topic of ['orders', 'retry']) check(broker.lag('billing', topic) === 0, `lag of ${topic}`)
  for (const topic of ['orders', 'retry']) {
    for (const { partition, offset } of broker.records(topic)) {
      check(done.has(`${topic}-${partition}@${offset}`), `${topic}-${partition}@${offset} is completed unsettled`)
    }
  }
  const closed = client.closeGracefully({ timeout: 500 })
  clock.runTo(5_000)
  const { drained, unsettled } = await closed
  check(drained && unsettled === 0, `${unsettled} left at the close`)
  check(errors.length === 0, `the pipeline errored: ${errors}`)
  if (broken.length > 0) throw new Error([broken[0], ...log].join('\n'))
}

describe('fork under random schedules', () => {
  it('completes a record when all branches have, keeps keys in order, and loses nothing', {
    timeout: 120_000,
  }, async () => {
    await fc.assert(fc.asyncProperty(plans, play), {
      numRuns: Number(process.env.RXMIKA_HISTORIES ?? 300),
      seed: Number(process.env.RXMIKA_SEED ?? 1),
    })
  })
})
