import fc from 'fast-check'
import {
  BehaviorSubject,
  bufferCount,
  bufferTime,
  filter,
  ignoreElements,
  type MonoTypeOperatorFunction,
  merge,
  mergeMap,
  type Observable,
  of,
  pipe,
  repeat,
  retry,
  take,
  takeWhile,
  tap,
  throwError,
  timer,
} from 'rxjs'
import {
  BatchFailure,
  type ConsumeRecord,
  createClient,
  discard,
  fixed,
  type HandlerContext,
  handle,
  redeliver,
  retryTopic,
} from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { Assignment } from '../../src/client/assignment.js'
import { nextPhases, Phases } from '../../src/client/phases.js'
import { Clock } from '../unit/clock.js'

/** By then everything has ended. */
export const late = 1_000
/** From then on the concurrency is unlimited. */
const unlimited = 90

/** What a handler does with one attempt of a record, or with an array that begins with it. */
type Attempt = {
  readonly takes: number
  /**
   * How it ends: by the end of the handler; by the record's own `ack` or `fail`, at once or at the end; or by a
   * `BatchFailure` that names all records of the array with this ending.
   */
  readonly how: 'done' | 'error' | 'throw' | 'name' | 'fail' | 'fail-last' | 'ack' | 'hang'
}

interface Input {
  readonly topic: 0 | 1
  readonly key: string | null
  readonly at: number
  readonly attempts: readonly Attempt[]
  /** Code outside the handler settles it this long after its delivery. */
  readonly elsewhere: { readonly after: number; readonly how: 'ack' | 'fail' } | undefined
}

/** The random choices of one run. */
export interface Plan {
  readonly order: 'partition' | 'key' | 'none'
  readonly concurrency: number
  /** The limits, and when they change. After `unlimited` the first one counts again. */
  readonly limits: readonly { readonly at: number; readonly limit: number }[]
  readonly onBatchFailure: 'fail' | 'one-by-one'
  readonly input: 'single' | 'time' | 'count'
  readonly most: number
  readonly timeout: number | undefined
  readonly route: 'redeliver' | 'retry-topic' | 'redeliver, then retry-topic' | 'discard'
  readonly backoff: number
  readonly fence: boolean
  readonly topics: 1 | 2
  readonly partitions: 1 | 2
  readonly maxInFlight: number
  readonly subscription:
    | 'one'
    | 'take, repeat'
    | 'take, handle, repeat'
    | 'handle, take, repeat'
    | 'throw, retry'
    | 'handle, throw, retry'
    | 'paused'
  readonly every: number
  readonly records: readonly Input[]
  readonly faults: readonly { readonly at: number; readonly kind: 'revoke' | 'lose'; readonly partition: number }[]
  readonly closeAt: number
}

const attempt = fc.record<Attempt>({
  takes: fc.constantFrom(0, 0, 1, 3, 10),
  how: fc.constantFrom('done', 'done', 'error', 'throw', 'name', 'fail', 'fail-last', 'ack', 'hang'),
})

const rarely = <T>(values: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: values })

export const plans: fc.Arbitrary<Plan> = fc.record<Plan>({
  order: fc.constantFrom('key', 'key', 'key', 'partition', 'none'),
  concurrency: fc.constantFrom(1, 2, 64, 64),
  limits: fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    {
      weight: 1,
      arbitrary: fc.array(fc.record({ at: fc.integer({ min: 0, max: 60 }), limit: fc.constantFrom(0, 0, 1, 2, 5) }), {
        minLength: 1,
        maxLength: 5,
      }),
    },
  ),
  onBatchFailure: fc.constantFrom('fail', 'one-by-one'),
  input: fc.constantFrom('single', 'single', 'time', 'count'),
  most: fc.integer({ min: 1, max: 4 }),
  timeout: fc.constantFrom(undefined, undefined, 7),
  route: fc.constantFrom('redeliver', 'redeliver', 'retry-topic', 'redeliver, then retry-topic', 'discard'),
  backoff: fc.constantFrom(0, 0, 2, 15),
  fence: fc.constantFrom(false, false, false, true),
  topics: fc.constantFrom(1, 1, 2),
  partitions: fc.constantFrom(1, 1, 2),
  maxInFlight: fc.constantFrom(1, 2, 5, 10_000, 10_000),
  subscription: fc.constantFrom(
    'one',
    'one',
    'one',
    'take, repeat',
    'take, handle, repeat',
    'handle, take, repeat',
    'throw, retry',
    'handle, throw, retry',
    'paused',
  ),
  every: fc.integer({ min: 1, max: 6 }),
  records: fc.array(
    fc.record<Input>({
      topic: fc.constantFrom(0, 0, 1),
      key: fc.constantFrom('a', 'a', 'a', 'b', 'c', null),
      at: fc.constantFrom(0, 0, 0, 5, 20),
      attempts: fc.array(attempt, { maxLength: 3 }),
      elsewhere: rarely(
        fc.record({ after: fc.constantFrom(0, 1, 4, 12), how: fc.constantFrom('ack' as const, 'fail' as const) }),
      ),
    }),
    { minLength: 1, maxLength: 12 },
  ),
  faults: fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    {
      weight: 1,
      arbitrary: fc.array(
        fc.record({
          at: fc.integer({ min: 0, max: 40 }),
          kind: fc.constantFrom('revoke' as const, 'lose' as const),
          partition: fc.constantFrom(0, 0, 1),
        }),
        { minLength: 1, maxLength: 3 },
      ),
    },
  ),
  closeAt: fc.oneof(fc.constant(late), fc.integer({ min: 0, max: 80 })),
})

const topics = ['orders', 'refunds'] as const
const attemptsHere = 3
const patience = 3_000

/** The state of a record, as far as it can be known from outside. */
interface Seen {
  readonly id: string
  readonly key: string | null
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Settled by code outside the handler. */
  readonly elsewhere: boolean
  state: 'out' | 'back' | 'routing' | 'not-due' | 'done'
  /** Failures of this delivery's assignment, for `redeliver`. */
  failures: number
  /** The first subscription that got it, and its first call there. */
  subscription: number
  call: number
}

export interface Played {
  /** The violations of rules; empty if there were none. */
  readonly broken: readonly string[]
  readonly log: readonly string[]
}

let taken: (assignment: Assignment) => void = () => {}
const { accept } = Assignment.prototype
Assignment.prototype.accept = function (...args) {
  taken(this)
  return accept.apply(this, args)
}

let illegal: (move: string) => void = () => {}
const { move } = Phases.prototype
Phases.prototype.move = function (record, phase) {
  if (!nextPhases[record.phase].includes(phase)) illegal(`${record.phase} to ${phase}`)
  move.call(this, record, phase)
}

/** Runs a plan in virtual time, and checks the rules of `handle` and of the client at every step. */
export async function play(plan: Plan): Promise<Played> {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions: plan.partitions })
  const client = createClient({
    driver: broker.driver(),
    group: 'billing',
    retryTopic: 'retry',
    logger: false,
    commitInterval: 1,
  })
  const log: string[] = []
  const broken: string[] = []
  const seen = new Map<string, Seen>()
  const everDone = new Set<string>()
  const note = (line: string) => log.push(`${String(clock.now()).padStart(4)} ${line}`)
  const wrong = (line: string) => {
    broken.push(line)
    note(`WRONG ${line}`)
  }
  const assignments = new Set<Assignment>()
  taken = assignment => assignments.add(assignment)
  illegal = transition => wrong(`a record went from ${transition}`)
  /** The expected report of the close, counted when the partitions are released. */
  let leftAtClose: number | undefined
  let closing = false

  const idOf = ({ source: { topic, partition, offset } }: ConsumeRecord) => `${topic}-${partition}@${offset}`
  const inputOf = (record: ConsumeRecord) => plan.records[Number(record.value)]!
  const nameOf = (record: ConsumeRecord) => `${record.value}${record.key}#${record.attempt}`
  const attemptOf = (record: ConsumeRecord): Attempt =>
    inputOf(record).attempts[record.attempt - 1] ?? { takes: 1, how: 'done' }

  const done = (id: string) => {
    everDone.add(id)
    const record = seen.get(id)
    if (record !== undefined) record.state = 'done'
  }
  client.events.subscribe(event => {
    if (event.type === 'retried' || event.type === 'discarded') {
      done(`${event.topic}-${event.partition}@${event.offset}`)
      note(`${event.type} ${event.topic}-${event.partition}@${event.offset}`)
    } else if (event.type === 'revoked' || event.type === 'lost') {
      note(`${event.type} ${event.topic}-${event.partition}`)
      if (closing)
        leftAtClose ??= [...seen.values()].filter(({ state }) => ['out', 'back', 'routing'].includes(state)).length
      for (const [id, one] of seen) if (one.topic === event.topic && one.partition === event.partition) seen.delete(id)
    } else if (event.type === 'assigned') {
      // The earlier revocations were of a rebalance, not of the close.
      leftAtClose = undefined
    }
  })

  const again = () => redeliver(client, { attempts: attemptsHere, backoff: fixed(plan.backoff) })
  const copied = () => retryTopic(client, { retries: 2, backoff: fixed(plan.backoff) })
  const here = plan.fence || plan.route.startsWith('redeliver')
  const onFail = () => {
    if (plan.fence || plan.route === 'redeliver') return pipe(again(), discard())
    if (plan.route === 'retry-topic') return pipe(copied(), discard())
    return plan.route === 'discard' ? discard() : pipe(again(), copied(), discard())
  }

  /** Notices every call of `ack` and `fail`. */
  const watch = (record: ConsumeRecord, entry: Seen) => {
    const settle = (how: 'ack' | 'fail') => {
      const real = record[how].bind(record) as (...reason: unknown[]) => boolean
      Object.defineProperty(record, how, {
        value: (...reason: unknown[]) => {
          const before = entry.state
          if (!record.settled && !record.signal.aborted) {
            // Noted before the call, because its consequences happen during the call.
            if (how === 'ack') done(entry.id)
            else entry.state = here && ++entry.failures < attemptsHere ? 'not-due' : 'routing'
          }
          const counted = real(...reason)
          if (counted) note(`${how} ${nameOf(record)}`)
          else if (entry.state !== before && !record.signal.aborted) wrong(`${how} of ${entry.id} did not count`)
          return counted
        },
      })
    }
    settle('ack')
    settle('fail')
  }

  let subscriptions = 0
  const seeing =
    (topic: string): MonoTypeOperatorFunction<ConsumeRecord> =>
    source =>
      source.pipe(
        tap({
          next: record => {
            const id = idOf(record)
            const { partition, offset, topic: readFrom } = record.source
            const key = record.key && String(record.key)
            let entry = seen.get(id)
            note(`delivered ${nameOf(record)} ${id}`)
            if (entry === undefined || entry.state === 'done') {
              if (entry !== undefined) wrong(`${id} delivered again, though it is done`)
              entry = {
                ...{ id, key, topic: readFrom, partition, offset: Number(offset), state: 'out', failures: 0 },
                elsewhere: inputOf(record).elsewhere !== undefined,
                ...{ subscription: subscriptions, call: -1 },
              }
              seen.set(id, entry)
            } else {
              if (entry.state === 'out') wrong(`${id} delivered twice`)
              entry.state = 'out'
            }
            if (!Object.hasOwn(record, 'ack')) watch(record, entry)
            const { elsewhere } = inputOf(record)
            if (elsewhere === undefined || record.attempt > 1) return
            clock.schedule(() => record[elsewhere.how](), elsewhere.after)
          },
          unsubscribe: () => gaveBack(topic),
          error: () => gaveBack(topic),
          complete: () => closing || gaveBack(topic),
        }),
      )
  const originOf = new Map<string, string>()
  const gaveBack = (topic: string) => {
    for (const one of seen.values()) {
      if (one.state === 'out' && (originOf.get(one.id) ?? one.topic) === topic) one.state = 'back'
    }
  }

  const limit = new BehaviorSubject(plan.concurrency)
  for (const { at, limit: to } of plan.limits) {
    clock.schedule(() => {
      note(`limit ${to}`)
      limit.next(to)
    }, at)
  }
  if (plan.limits.length > 0) clock.schedule(() => limit.next(plan.concurrency), unlimited)

  // The handler.
  let calls = 0
  const running = new Set<{ readonly records: readonly ConsumeRecord[]; readonly lanes: ReadonlySet<string> }>()
  const laneOf = (record: ConsumeRecord) =>
    plan.order === 'none'
      ? undefined
      : plan.order === 'partition'
        ? `${record.source.topic}-${record.source.partition}`
        : (record.key?.toString() ?? undefined)

  const begin = (records: readonly ConsumeRecord[]) => {
    const call = ++calls
    const lanes = new Set(records.map(laneOf).filter(lane => lane !== undefined))
    note(`begin ${records.map(nameOf)}`)
    for (const other of running) {
      const shared = [...lanes].filter(lane => other.lanes.has(lane))
      if (shared.length > 0) wrong(`${records.map(nameOf)} begun beside ${other.records.map(nameOf)}`)
    }
    if (running.size >= limit.value) wrong(`begun at ${running.size} of ${limit.value} at a time`)
    for (const record of records) {
      const entry = seen.get(idOf(record))
      if (entry === undefined) continue
      if (entry.call < 0) entry.call = call
    }
    for (const record of records) {
      const entry = seen.get(idOf(record))
      if (plan.order === 'key' && entry !== undefined) inOrder(entry, records)
    }
    const one = { records, lanes }
    running.add(one)
    return one
  }

  /** No record begins before the earlier records of its key are completed, including their retries in place. */
  const inOrder = (entry: Seen, together: readonly ConsumeRecord[]) => {
    if (entry.key === null || entry.topic === 'retry') return
    for (const before of seen.values()) {
      if (before.topic !== entry.topic || before.partition !== entry.partition || before.key !== entry.key) continue
      if (before.offset >= entry.offset || before.state === 'done') continue
      if (before.call === entry.call || together.some(record => idOf(record) === before.id)) continue
      // Records of one array have no order, even if code outside the handler has settled one of them.
      if (plan.input !== 'single' && (before.elsewhere || entry.elsewhere)) continue
      // Another subscription had the record, of which the `handle` of this one knows nothing.
      if (before.subscription !== entry.subscription || before.subscription !== subscriptions) continue
      wrong(`${entry.id} begun before ${before.id} is done`)
    }
  }

  /** Calls that were cancelled, whose signal must be aborted. */
  const left: [readonly ConsumeRecord[], AbortSignal][] = []
  const failureOf = (records: readonly ConsumeRecord[]) => {
    const named = records.filter(record => attemptOf(record).how === 'name')
    return BatchFailure.of(...named.map(record => [record, new Error(`named ${nameOf(record)}`)] as const))
  }
  const project = (input: ConsumeRecord | readonly ConsumeRecord[], { signal }: HandlerContext): unknown => {
    const records = Array.isArray(input) ? (input as readonly ConsumeRecord[]) : [input as ConsumeRecord]
    if (signal.aborted) wrong(`${records.map(nameOf)} begun with a signal that is aborted`)
    const one = begin(records)
    const end = () => {
      if (!running.delete(one)) return
      note(`end ${records.map(nameOf)}`)
    }
    const self = (when: readonly Attempt['how'][]) => {
      for (const record of records) {
        const { how } = attemptOf(record)
        if (!when.includes(how)) continue
        if (how === 'ack') record.ack()
        else record.fail(new Error('by itself'))
      }
    }
    const { how } = attemptOf(records[0]!)
    const takes = Math.max(...records.map(record => attemptOf(record).takes))
    self(['ack', 'fail'])
    if (how === 'throw') {
      self(['fail-last'])
      end()
      throw new Error('no')
    }
    if (takes === 0 && how !== 'hang') {
      self(['fail-last'])
      end()
      if (how === 'error') return throwError(() => new Error('no'))
      if (how === 'name') return throwError(() => failureOf(records))
      return how === 'done' ? of(1) : undefined
    }
    return timer(how === 'hang' ? (plan.timeout ?? 5) + 5 : takes, clock).pipe(
      mergeMap(() => {
        self(['fail-last'])
        end()
        if (how === 'name') return throwError(() => failureOf(records))
        return how === 'error' ? throwError(() => new Error('no')) : of(1)
      }),
      tap({
        unsubscribe: () => {
          end()
          left.push([records, signal])
        },
      }),
    )
  }

  // The pipeline.
  const handled = (source: Observable<ConsumeRecord>): Observable<unknown> => {
    const { order, timeout, most, onBatchFailure } = plan
    const concurrency = plan.limits.length > 0 ? limit : plan.concurrency
    const options = { order, concurrency, timeout, scheduler: clock, onBatchFailure }
    // A pipeline that resubscribes without end never completes, and bufferCount waits for completion.
    const input = plan.input === 'count' && plan.subscription === 'take, repeat' ? 'time' : plan.input
    if (input === 'single') return source.pipe(handle(project, options))
    const buffered =
      input === 'time' ? bufferTime<ConsumeRecord>(3, null, most, clock) : bufferCount<ConsumeRecord>(most)
    return source.pipe(
      buffered,
      filter(records => records.length > 0),
      handle(project, options),
    )
  }
  const names = topics.slice(0, plan.topics)
  const streams = names.map(name =>
    client
      .topic(name, {
        onFail: onFail(),
        maxInFlight: plan.maxInFlight,
        ...(plan.fence ? { keyFence: { afterDeadLetter: 'continue' as const } } : {}),
      })
      .pipe(tap({ subscribe: () => subscriptions++ }), seeing(name)),
  )
  let passed = 0
  const pipeline = (): Observable<unknown> => {
    const { every } = plan
    switch (plan.subscription) {
      case 'take, repeat':
        return handled(
          merge(...streams.map(stream => stream.pipe(take(every), repeat({ delay: () => timer(2, clock) })))),
        )
      case 'take, handle, repeat':
        return handled(merge(...streams).pipe(take(every))).pipe(repeat())
      case 'handle, take, repeat':
        // Not during a close: cancelled records are not settled then, and the close would wait for its whole time-out.
        return handled(merge(...streams)).pipe(
          takeWhile(() => closing || ++passed % every > 0, true),
          repeat(),
        )
      case 'throw, retry':
        return handled(
          merge(...streams).pipe(
            tap(() => {
              if (++passed % (every + 2) === 0 && passed < 60) throw new Error('the pipeline is broken')
            }),
          ),
        ).pipe(retry())
      case 'handle, throw, retry':
        return handled(merge(...streams)).pipe(
          tap(() => {
            if (!closing && ++passed % (every + 1) === 0) throw new Error('what comes after it is broken')
          }),
          retry(),
        )
      default:
        return handled(merge(...streams))
    }
  }
  const subscribe = () =>
    pipeline()
      .pipe(ignoreElements())
      .subscribe({ error: error => wrong(`handle: ${error}`) })
  let subscription = subscribe()
  if (plan.subscription === 'paused') {
    for (const at of [plan.every * 2, plan.every * 7]) {
      clock.schedule(() => {
        // Not during a close, which would wait for its whole time-out for records that nothing settles any more.
        if (closing) return
        note('unsubscribed')
        subscription.unsubscribe()
      }, at)
      clock.schedule(() => {
        if (closing || !subscription.closed) return
        note('subscribed again')
        subscription = subscribe()
      }, at + plan.every)
    }
  }

  // What happens.
  broker.written.subscribe(({ topic, partition, offset, value }) => {
    if (topic !== 'retry') return
    const { topic: origin } = plan.records[Number(value)]!
    originOf.set(`retry-${partition}@${offset}`, topics[Math.min(origin, plan.topics - 1)]!)
  })
  for (const name of [...names, 'retry']) broker.createTopic(name, plan.partitions)
  for (const [at, { topic, key, at: frame }] of plan.records.entries()) {
    const name = topics[Math.min(topic, plan.topics - 1)]!
    clock.schedule(() => broker.publish(name, [{ key, value: String(at) }]), frame)
  }
  for (const { at, kind, partition } of plan.faults) {
    clock.schedule(() => {
      const target = partition % plan.partitions
      if (closing || broker.group('billing')?.state !== 'stable') return
      note(`${kind} orders-${target}`)
      if (kind === 'revoke') broker.revoke('billing', 'orders', target)
      else broker.lose('billing', 'orders', target)
    }, at)
  }
  client.start()

  const counts = () => {
    for (const {
      topic,
      partition,
      phases: { inFlight, stuck },
    } of assignments) {
      if (inFlight < 0 || stuck < 0) wrong(`${topic}-${partition}: ${inFlight} in flight and ${stuck} stuck`)
    }
  }
  clock.runTo(plan.closeAt)
  counts()
  // Not with bufferCount, because an array that is not full waits for more records.
  if (plan.closeAt === late && plan.input !== 'count') {
    for (const name of [...names, 'retry']) {
      const lag = broker.lag('billing', name)
      if (lag > 0) wrong(`${name} is not done: ${lag}`)
    }
  }
  closing = true
  note('closes')
  const closed = client.closeGracefully({ timeout: patience })
  clock.runTo(plan.closeAt + patience - 1)
  counts()
  if (client.currentState !== 'closed') wrong('the close waits for its time-out')
  clock.runTo(plan.closeAt + 2 * patience)
  const { drained, unsettled } = await closed
  subscription.unsubscribe()
  note(`closed: ${unsettled} unsettled`)
  if (drained !== (unsettled === 0)) wrong(`drained is ${drained}, and unsettled ${unsettled}`)
  if (leftAtClose !== undefined && unsettled !== leftAtClose)
    wrong(`the close told of ${unsettled} unsettled, and there were ${leftAtClose}`)
  for (const [records, signal] of left) if (!signal.aborted) wrong(`${records.map(nameOf)} cut off without a signal`)

  // The next client gets the records that were left.
  const next = createClient({
    driver: broker.driver(),
    group: 'billing',
    retryTopic: 'retry',
    logger: false,
    startFrom: 'earliest',
  })
  for (const name of names) {
    next.topic(name).subscribe(record => {
      everDone.add(idOf(record))
      record.ack()
    })
  }
  next.start()
  clock.runTo(plan.closeAt + 3 * patience)
  for (const name of [...names, 'retry']) {
    for (const { partition, offset } of broker.records(name)) {
      if (!everDone.has(`${name}-${partition}@${offset}`)) wrong(`${name}-${partition}@${offset} is lost`)
    }
  }
  next.close()
  clock.runTo(plan.closeAt + 4 * patience)
  return { broken, log }
}
