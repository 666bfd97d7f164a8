import fc from 'fast-check'
import { pino } from 'pino'
import { lastValueFrom, Subject, type Subscription, tap } from 'rxjs'
import { type Driver, type ProduceResult, PublishError, type RecordMetadata } from 'rxmika'
import { afterEach, describe, expect } from 'vitest'
import { kafkaDriver } from '../../src/drivers/kafka/index'
import { errorCode, kafkaErrors } from '../../src/protocol/errors'
import { Collected } from '../contract/collected'
import { done } from '../contract/driver-member'
import { numbered, type Run, texts, type World } from '../contract/world'
import { produced } from '../produced'
import { describeOwnKafka } from './describe-kafka'
import { ownKafka } from './own-kafka'
import type { ProduceFate, ProxiedBatch } from './produce-passage'

const refuses: ProduceFate = { append: false, answer: errorCode.NOT_ENOUGH_REPLICAS }
const passes: ProduceFate = { append: true }

describeOwnKafka('every answer of a real leader to a batch', () => {
  const kafka = ownKafka({ proxied: true })
  const { backend, scenario } = kafka

  afterEach(() => {
    kafka.proxy.fate = undefined
  })

  /** Draws the fates of a partition's batches, and reports every attempt. */
  function attemptsAt(topic: string, partition: number, next: () => ProduceFate): Collected<ProxiedBatch> {
    const attempts = new Subject<ProxiedBatch>()
    const seen = new Collected(attempts)
    kafka.proxy.fate = batch => {
      if (batch.topic !== topic || batch.partition !== partition) return passes
      const fate = next()
      attempts.next(batch)
      return fate
    }
    return seen
  }

  const valuesOf = async (topic: string, partition: number) =>
    texts((await backend.records(topic)).filter(record => record.partition === partition))

  // ── The first answer leaves doubt ────────────────────────────────────────────────────────────────────────────────

  interface Specimen {
    readonly title: string
    readonly first: ProduceFate
    /** Whether the first attempt is in the log, between `warm` and the later records. */
    readonly appended: boolean
  }

  const specimens: readonly Specimen[] = [
    {
      title: 'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
      first: { append: true, answer: errorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND },
      appended: true,
    },
    { title: 'REQUEST_TIMED_OUT', first: { append: true, answer: errorCode.REQUEST_TIMED_OUT }, appended: true },
    { title: 'a truncated answer', first: { append: true, answer: 'cut' }, appended: true },
    { title: 'REQUEST_TIMED_OUT, not appended', first: { append: false, answer: 7 }, appended: false },
    { title: 'a truncated request', first: { append: false, answer: 'cut' }, appended: false },
  ]

  const publishing = (run: Run, topic: string, values: readonly string[], partition: number, timeout = 30_000) =>
    lastValueFrom(
      run.client.publish(
        values.map(value => ({ topic, partition, value })),
        { timeout },
      ),
    )

  describe.each(specimens)('$title, and then refusals until the time-out', ({ first, appended }) => {
    for (const [count, following] of [
      [1, 1],
      [1, 3],
      [3, 3],
    ] as const) {
      scenario(
        `acknowledges records at their own offsets behind those that were given up (${following} behind ${count})`,
        async world => {
          const topic = await world.topic('answers', 3)
          const run = world.client({ brokers: kafka.server.brokers })
          run.expected = [PublishError]
          await run.start()
          await publishing(run, topic, ['warm'], 0)

          const fates = [first]
          let healed = false
          const attempts = attemptsAt(topic, 0, () => fates.shift() ?? (healed ? passes : refuses))
          const xs = Array.from({ length: count }, (_, at) => `x${at}`)
          const ys = Array.from({ length: following }, (_, at) => `y${at}`)
          let isGivenUp = false
          const givenUp = publishing(run, topic, xs, 0, 1_000).then(
            () => expect.fail('it was acknowledged'),
            (error: unknown) => {
              isGivenUp = true
              return error
            },
          )
          await attempts.count(3)
          // The other partitions do not wait.
          const beside = await Promise.all([1, 2].map(partition => publishing(run, topic, ['beside'], partition)))
          expect(beside.flat().map(({ offset }) => offset)).toEqual([0n, 0n])
          expect(isGivenUp, 'the other partitions waited').toBe(false)
          const waiting = publishing(run, topic, ys, 0)

          const error = await givenUp
          expect(error).toBeInstanceOf(PublishError)
          expect(error).toMatchObject({ retriable: true })
          healed = true
          const metadata: readonly RecordMetadata[] = await waiting

          const before = appended ? ['warm', ...xs] : ['warm']
          expect(await valuesOf(topic, 0)).toEqual([...before, ...ys])
          expect(metadata.map(({ offset }) => Number(offset))).toEqual(ys.map((_, at) => before.length + at))
          // The broker accepted the next epoch, from sequence 0 on.
          const [abandoned, accepted] = [attempts.values[0]!, attempts.values.at(-1)!]
          expect(accepted).toMatchObject({ producerId: abandoned.producerId, epoch: abandoned.epoch + 1, first: 0 })
          // The broker accepts more batches of that epoch.
          expect(await publishing(run, topic, ['z'], 0)).toMatchObject([{ offset: BigInt(before.length + ys.length) }])
        },
      )
    }
  })

  for (const arrives of ['before', 'after'] as const) {
    scenario(`keeps the order when a batch that was given up arrives ${arrives} the following one`, async world => {
      const topic = await world.topic('late')
      const run = world.client({ brokers: kafka.server.brokers })
      run.expected = [PublishError]
      await run.start()
      await publishing(run, topic, ['warm'], 0)
      const fates: ProduceFate[] = [{ append: 'late', answer: 'cut' }]
      let healed = false
      const attempts = attemptsAt(topic, 0, () => fates.shift() ?? (healed ? passes : refuses))
      // On a busy machine the records may be given up before they are sent. Then no batch is late, and the test tries again.
      do await expect(publishing(run, topic, ['x'], 0, 700)).rejects.toBeInstanceOf(PublishError)
      while (attempts.values.length === 0)
      if (arrives === 'before') expect(await kafka.proxy.arriveLate()).toEqual([0])
      healed = true
      await publishing(run, topic, ['y'], 0)
      // The broker knows the newer epoch, and refuses the older one.
      if (arrives === 'after') expect(await kafka.proxy.arriveLate()).toEqual([errorCode.INVALID_PRODUCER_EPOCH])
      await publishing(run, topic, ['z'], 0)
      expect(await valuesOf(topic, 0)).toEqual(arrives === 'before' ? ['warm', 'x', 'y', 'z'] : ['warm', 'y', 'z'])
    })
  }

  scenario('recognises a repetition, however late the first attempt arrives', async world => {
    const topic = await world.topic('repeated')
    const run = world.client({ brokers: kafka.server.brokers })
    await run.start()
    const fates: ProduceFate[] = [{ append: 'late', answer: 'cut' }]
    attemptsAt(topic, 0, () => fates.shift() ?? passes)
    for (let at = 0; at < 8; at++) {
      expect(await publishing(run, topic, [`${at}`], 0)).toMatchObject([{ offset: BigInt(at) }])
    }
    // Brokers remember five batches of a producer; an older one is out of order.
    expect(await kafka.proxy.arriveLate()).toEqual([errorCode.OUT_OF_ORDER_SEQUENCE_NUMBER])
    expect(await valuesOf(topic, 0)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7'])
  })

  // ── Copies ───────────────────────────────────────────────────────────────────────────────────────────────────────

  for (const { title, first, appended } of specimens) {
    scenario(`commits a source when its copy is in the log, behind one that was given up (${title})`, async world => {
      const group = world.name('group')
      const names = ['orders', 'retries', 'dlq'].map(name => world.topic(name))
      const [topic, retryTopic, dlqTopic] = (await Promise.all(names)) as [string, string, string]
      const run = world.client({ group, retryTopic, dlqTopic, brokers: kafka.server.brokers })
      run.expected = [PublishError]
      const records = run.client.topic(topic, { retries: 1, dlq: true })
      records.pipe(tap(record => record.fail(new Error('no')))).subscribe()
      await run.start()
      await publishing(run, dlqTopic, ['warm'], 0)

      const fates = [first]
      let healed = false
      const attempts = attemptsAt(dlqTopic, 0, () => fates.shift() ?? (healed ? passes : refuses))
      const givenUp = expect(publishing(run, dlqTopic, ['x'], 0, 1_000)).rejects.toBeInstanceOf(PublishError)
      await backend.publish(topic, numbered(0, 1))
      // The first copy goes the usual way, the dead letter waits.
      await Promise.all([run.committed(topic, 0, 1), givenUp])
      const refusals = attempts.values.length
      await attempts.count(refusals + 2)
      expect(await backend.committed(group, retryTopic, 0)).toBeUndefined()
      healed = true
      await run.committed(retryTopic, 0, 1)
      expect(await valuesOf(dlqTopic, 0)).toEqual(appended ? ['warm', 'x', '0'] : ['warm', '0'])
      expect(await valuesOf(retryTopic, 0)).toEqual(['0'])
    })
  }

  for (const { title, first } of specimens) {
    scenario(`writes a copy once, and commits its source behind it (${title})`, async world => {
      const group = world.name('group')
      const names = ['orders', 'retries', 'dlq'].map(name => world.topic(name))
      const [topic, retryTopic, dlqTopic] = (await Promise.all(names)) as [string, string, string]
      const run = world.client({ group, retryTopic, dlqTopic, brokers: kafka.server.brokers })
      run.expected = [PublishError]
      const fates = [first]
      let healed = false
      const attempts = attemptsAt(retryTopic, 0, () => fates.shift() ?? (healed ? passes : refuses))
      await backend.publish(topic, numbered(0, 3))
      const records = run.client.topic(topic, { retries: 1, dlq: true })
      const seen = new Collected(records.pipe(tap(record => record.fail(new Error('no')))))
      await run.start()
      await attempts.count(4)
      expect(await backend.committed(group, topic, 0)).toBeUndefined()
      expect(run.events.values.filter(({ type }) => type === 'retried')).toEqual([])
      healed = true
      await Promise.all([run.committed(topic, 0, 3), run.committed(retryTopic, 0, 3)])
      expect(texts(seen)).toEqual(['0', '1', '2', '0', '1', '2'])
      for (const copies of [retryTopic, dlqTopic]) expect(await valuesOf(copies, 0)).toEqual(['0', '1', '2'])
    })
  }

  // ── Generated ────────────────────────────────────────────────────────────────────────────────────────────────────

  const partitions = 3
  const usable = kafkaErrors.filter(
    error => error.code !== 0 && !error.has('refusesRecords') && !error.has('oneRecordToBlame'),
  )
  const answered = fc.constantFrom(...usable).chain(error =>
    fc.record({
      append: error.has('mayHaveBeenWritten') ? fc.boolean() : fc.constant(false),
      answer: fc.constant(error.code),
    }),
  )
  const doubtful = fc
    .constantFrom(...usable.filter(error => error.has('mayHaveBeenWritten') && !error.has('producerUnknown')))
    .chain(({ code }) => fc.record({ append: fc.boolean(), answer: fc.constant(code) }))
  const cut = fc.record({
    append: fc.constantFrom(true, false, 'late' as const),
    answer: fc.constant('cut' as const),
  })
  /** One attempt or several in a row: an answer that leaves doubt is mostly followed by refusals that do not end it. */
  const fates: fc.Arbitrary<readonly ProduceFate[]> = fc.oneof(
    { weight: 2, arbitrary: fc.constant([passes]) },
    { weight: 1, arbitrary: fc.tuple(answered) },
    {
      weight: 4,
      arbitrary: fc
        .tuple(fc.oneof(doubtful, cut), fc.integer({ min: 0, max: 4 }))
        .map(([first, refusals]) => [first, ...Array.from({ length: refusals }, () => refuses)]),
    },
  )
  const count = fc.integer({ min: 1, max: 3 })
  const partition = fc.integer({ min: 0, max: partitions - 1 })
  const attempts = fc.integer({ min: 1, max: 3 })
  type Step =
    | { readonly do: 'send'; readonly count: number; readonly partition: number }
    | { readonly do: 'await'; readonly attempts: number }
    | { readonly do: 'give up'; readonly send: number }
    | { readonly do: 'arrive late' }
  const steps: fc.Arbitrary<readonly Step[]> = fc.oneof(
    fc.record({ do: fc.constant('send' as const), count, partition }).map(send => [send]),
    fc.record({ do: fc.constant('await' as const), attempts }).map(wait => [wait]),
    fc.record({ do: fc.constant('give up' as const), send: fc.nat({ max: 3 }) }).map(giveUp => [giveUp]),
    fc.constant([{ do: 'arrive late' as const }]),
    // A batch that is given up and one behind it: the broker must not take the second for a repetition of the first.
    fc.record({ count, partition, attempts }).map(({ count, partition, attempts }): Step[] => [
      { do: 'send', count, partition },
      { do: 'await', attempts },
      { do: 'give up', send: 0 },
      { do: 'send', count, partition },
    ]),
  )
  const schedule = fc.record({
    steps: fc.array(steps, { minLength: 4, maxLength: 12 }).map(each => each.flat()),
    fates: fc.tuple(
      ...Array.from({ length: partitions }, () => fc.array(fates, { maxLength: 6 }).map(each => each.flat())),
    ),
  })

  interface Sent {
    readonly value: string
    readonly partition: number
    readonly waiting: Subscription
    result: ProduceResult | undefined
  }

  /** The records of one driver, through all schedules. */
  class Schedules {
    readonly sent: Sent[] = []
    /** Emits at every attempt and at every end. */
    readonly #changes = new Subject<void>()
    #attempts = 0
    /** Partitions where a broker refused to continue with the producer: a second copy is accepted there. */
    readonly #unknown = new Set<number>()

    constructor(
      readonly driver: Driver,
      readonly topic: string,
    ) {}

    async play({ steps, fates }: typeof schedule extends fc.Arbitrary<infer T> ? T : never): Promise<void> {
      const coming = fates.map(each => [...each])
      const sends: (readonly Sent[])[] = []
      this.#deal(partition => coming[partition]!.shift() ?? passes)
      for (const each of steps) {
        if (each.do === 'send') sends.push(Array.from({ length: each.count }, () => this.#send(each.partition)))
        else if (each.do === 'await') await this.#until(this.#attempts + each.attempts)
        else if (each.do === 'give up') for (const { waiting } of sends.at(-1 - each.send) ?? []) waiting.unsubscribe()
        else await kafka.proxy.arriveLate()
      }
      this.#deal(() => passes)
      await this.#until(Number.POSITIVE_INFINITY)
      await kafka.proxy.arriveLate()
      await this.#check()
    }

    #deal(next: (partition: number) => ProduceFate): void {
      kafka.proxy.fate = batch => {
        if (batch.topic !== this.topic) return passes
        const dealt = next(batch.partition)
        const error = kafkaErrors.find(({ code }) => code === dealt.answer)
        if (error?.has('producerUnknown')) this.#unknown.add(batch.partition)
        this.#attempts++
        this.#changes.next()
        return dealt
      }
    }

    #send(partition: number): Sent {
      const value = `${partition}#${this.sent.length}`
      const waiting = produced(this.driver, [{ topic: this.topic, partition, value }]).subscribe(([result]) => {
        sent.result = result
        this.#changes.next()
      })
      const sent: Sent = { value, partition, waiting, result: undefined }
      this.sent.push(sent)
      return sent
    }

    /** Resolves after this many attempts, or when nothing is left to try. */
    #until(attempts: number): Promise<void> {
      return new Promise(resolve => {
        const look = () => {
          if (this.#attempts < attempts && this.sent.some(({ waiting }) => !waiting.closed)) return
          looking.unsubscribe()
          resolve()
        }
        const looking = this.#changes.subscribe(() => queueMicrotask(look))
        look()
      })
    }

    async #check(): Promise<void> {
      const logs = await Promise.all(
        Array.from({ length: partitions }, (_, partition) => valuesOf(this.topic, partition)),
      )
      const last = new Map<number, bigint>()
      for (const { value, partition, result } of this.sent) {
        const log = logs[partition]!
        const copies = log.filter(stored => stored === value).length
        if (!this.#unknown.has(partition)) expect(copies, `${value} in ${log}`).toBeLessThanOrEqual(1)
        if (result === undefined) continue
        expect(result, value).toMatchObject({ ok: true, topic: this.topic, partition })
        if (!result.ok) continue
        expect(log[Number(result.offset)], `${value} at ${result.offset} of ${log}`).toBe(value)
        expect(result.offset > (last.get(partition) ?? -1n), `${value} at ${result.offset} of ${log}`).toBe(true)
        last.set(partition, result.offset)
      }
    }
  }

  async function connected(world: World): Promise<Driver> {
    const driver = kafkaDriver({ brokers: kafka.server.brokers })
    world.drivers.push(driver)
    await done(driver.connect({ clientId: 'answers', logger: pino({ level: 'silent' }) }))
    return driver
  }

  scenario('acknowledged records are in the log once, in order, at the reported place (generated)', async world => {
    const seed = Number(process.env.RXMIKA_SEED ?? Date.now() % 2 ** 31)
    console.info(`answers to batches: RXMIKA_SEED=${seed}`)
    const driver = await connected(world)
    let [played, acknowledged, givenUp] = [0, 0, 0]
    await fc.assert(
      fc.asyncProperty(schedule, async each => {
        const topic = await world.topic(`schedule-${++played}`, partitions)
        const schedules = new Schedules(driver, topic)
        // A new leader refuses requests until it is ready.
        const warm = Array.from({ length: partitions }, (_, partition) => ({ topic, partition, value: 'warm' }))
        expect(await lastValueFrom(produced(driver, warm))).toMatchObject(warm.map(() => ({ ok: true, offset: 0n })))
        await schedules.play(each)
        acknowledged += schedules.sent.filter(({ result }) => result?.ok).length
        givenUp += schedules.sent.filter(({ result }) => result === undefined).length
      }),
      { seed, numRuns: 30, interruptAfterTimeLimit: 45_000, endOnFailure: true },
    )
    console.info(`${acknowledged} records acknowledged, ${givenUp} given up`)
    // Otherwise the test has shown nothing.
    expect(acknowledged).toBeGreaterThan(20)
    expect(givenUp).toBeGreaterThan(0)
  })
})
