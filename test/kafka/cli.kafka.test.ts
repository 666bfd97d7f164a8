import { execFile as execFileWith } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import { filter, firstValueFrom, lastValueFrom, ReplaySubject, take, tap, toArray } from 'rxjs'
import { type Client, type ClientEvent, type ConsumeRecord, createClient, handle } from 'rxmika'
import { afterAll, describe, expect, it } from 'vitest'
import { command, type Ended, Running } from '../cli-command'
import { cliProgram } from '../cli-program'
import { consumerGroupState } from './consumer-group-state'
import { createTopic, createTopics } from './create-topic'
import { describeKafka, kafkaBrokers } from './describe-kafka'
import { groupProtocols, hasConsumerProtocol } from './group-protocols'
import { acknowledgeShared } from './java-share-member'

const execFile = promisify(execFileWith)
const program = cliProgram()
const brokers = { KAFKA_BROKERS: kafkaBrokers.join(',') }

/** Runs the command line in a pipe. */
function rxmika(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return command(args, { env: { ...brokers, ...env } })
}

/** Expects that the table of `lag` has only this row: one line, in a pipe and in a terminal of 80 columns. */
async function expectTables(group: string, row: readonly (string | number)[]): Promise<void> {
  const names = ['PARTITION', 'COMMITTED', 'END', 'LAG', 'FINISHED BEHIND']
  for (const columns of [undefined, 80]) {
    const { code, out, err } = await command(['lag', group], { env: brokers, ...(columns && { columns }) })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const [head, line, ...rest] = out.split('\n')
    expect(rest).toEqual([''])
    expect([head, line].map(each => each!.split(/ {2,}/))).toEqual([names, row.map(String)])
    for (const each of [head, line]) expect(each!.length).toBeLessThanOrEqual(80)
  }
}

const documents = (text: string) =>
  text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line))

/** A service with a retry and a DLQ topic, whose handler fails on request. */
class Service {
  readonly #clients: Client[] = []
  readonly topics: { readonly work: string; readonly retry: string; readonly dlq: string }
  readonly group: string
  /** Values whose records fail when they are delivered. */
  readonly failing = new Set<string>()
  readonly delivered = new ReplaySubject<string>()
  readonly dead = new ReplaySubject<void>()

  constructor(readonly id: string) {
    this.group = `billing-${id}`
    this.topics = { work: `orders-${id}`, retry: `retry-${id}`, dlq: `dlq-${id}` }
  }

  static async make(partitions = 1): Promise<Service> {
    const service = new Service(randomUUID().slice(0, 8))
    const topics = Object.values(service.topics).map(topic => ({ topic, numPartitions: partitions }))
    await createTopics({ brokers: kafkaBrokers }, topics)
    return service
  }

  get flags(): string[] {
    return ['--dlq-topic', this.topics.dlq, '--retry-topic', this.topics.retry]
  }

  start(group = this.group): Client {
    const client = createClient({
      brokers: kafkaBrokers,
      group,
      retryTopic: this.topics.retry,
      dlqTopic: this.topics.dlq,
      logger: false,
    })
    this.#clients.push(client)
    const charge = (record: ConsumeRecord) => {
      const text = String(record.value)
      this.delivered.next(`${group === this.group ? '' : 'other '}${text} ${record.source.kind} ${record.attempt}`)
      if (this.failing.has(text)) throw new RangeError(`no ${text}`)
    }
    client
      .topic(this.topics.work, { dlq: true })
      .pipe(handle(charge))
      .subscribe({ error: () => {} })
    client.events.subscribe(({ type }) => {
      if (type === 'dead-lettered') this.dead.next()
    })
    client.start()
    return client
  }

  async publish(client: Client, ...values: string[]): Promise<void> {
    await lastValueFrom(client.publish(values.map(value => ({ topic: this.topics.work, key: value, value }))))
  }

  /** Resolves once this many dead letters are written. */
  async deadLetters(count: number): Promise<void> {
    await lastValueFrom(this.dead.pipe(take(count)))
  }

  /** Resolves with the first `count` deliveries. */
  deliveries(count: number): Promise<string[]> {
    return lastValueFrom(this.delivered.pipe(take(count), toArray()))
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map(client => client.close()))
  }
}

// They wait for Kafka more than they compute, and each has topics and groups of its own.
describeKafka('the command line', { concurrent: true }, () => {
  const scenario = (title: string, test: (service: Service) => Promise<void>, partitions = 1) =>
    it(title, async () => {
      const service = await Service.make(partitions)
      try {
        await test(service)
      } finally {
        await service.close()
      }
    })

  /** A service that has dead-lettered these values. */
  async function withDeadLetters(service: Service, ...values: string[]): Promise<Client> {
    for (const value of values) service.failing.add(value)
    const client = service.start()
    await service.publish(client, ...values)
    await service.deadLetters(values.length)
    return client
  }

  // The longest tests come first, so that the others run beside them.
  describe('with more dead letters than fit into its heap', () => {
    afterAll(async () => rm(await program))
    const heap = 24
    it(`lists 40,000 and redrives 2,000 of them with a heap of ${heap} MB`, async () => {
      const id = randomUUID().slice(0, 8)
      const [dlq, retry, group] = [`dlq-${id}`, `retry-${id}`, `billing-${id}`]
      await createTopics(
        { brokers: kafkaBrokers },
        [dlq, retry].map(topic => ({ topic, numPartitions: 2 })),
      )
      const fields = { org_topic: 'orders', retries: '0', msg: 'declined', error_name: 'RangeError' }
      const headers = Object.fromEntries(
        Object.entries(fields).map(([name, value]) => [`mika_err_${group}_${name}`, value]),
      )
      const client = createClient({ brokers: kafkaBrokers, logger: false })
      for (let written = 0; written < 40_000; written += 10_000) {
        const deadLetters = Array.from({ length: 10_000 }, (_, at) => ({
          topic: dlq,
          partition: at % 2,
          value: 'v',
          headers,
        }))
        await lastValueFrom(client.publish(deadLetters))
      }
      await client.close()
      const node = [`--max-old-space-size=${heap}`, await program]
      const flags = ['--dlq-topic', dlq, '--json']
      const env = { ...process.env, ...brokers }
      const run = async (...args: string[]) =>
        (await execFile(process.execPath, [...node, 'dlq', ...args, ...flags], { env })).stdout
      expect(documents(await run('ls'))).toMatchObject([{ group, error: 'RangeError', count: 40_000 }])
      const redriven = await run('redrive', '--yes', '--retry-topic', retry, '--limit', '2000')
      expect(documents(redriven)).toEqual([{ group, redriven: 2_000, skipped: 0 }])
      expect(documents((await rxmika(['dlq', 'ls', ...flags])).out)).toMatchObject([{ count: 38_000 }])
    })
  })

  describe('lag of a share group', () => {
    it("is the broker's figure, and records acknowledged beyond the position count as finished", async () => {
      const id = randomUUID().slice(0, 8)
      const [topic, group] = [`orders-${id}`, `shared-${id}`]
      await createTopic({ brokers: kafkaBrokers }, { topic, numPartitions: 1 })
      const client = createClient({ brokers: kafkaBrokers, logger: false })
      await lastValueFrom(client.publish(Array.from({ length: 5 }, () => ({ topic, value: 'v' }))))
      await client.close()
      await acknowledgeShared({ brokers: kafkaBrokers, group, topic, count: 3 })
      const { code, out, err } = await rxmika(['lag', group, '--json'])
      expect({ code, err }).toEqual({ code: 0, err: '' })
      const [row, ...others] = documents(out)
      expect(others).toEqual([])
      expect(row).toMatchObject({ topic, partition: 0, end: 5, lag: 2 })
      // The broker decides when it moves the position.
      expect(row.committed + row.finishedBehind).toBe(3)
      await expectTables(group, [`${topic}-0`, row.committed, 5, 2, row.finishedBehind])
    })
  })

  describe('dlq ls and show', () => {
    scenario('count and show pending dead letters', async service => {
      await withDeadLetters(service, 'a', 'b')
      const listed = await rxmika(['dlq', 'ls', '--json', ...service.flags])
      expect(listed).toMatchObject({ code: 0, err: '' })
      expect(documents(listed.out)).toEqual([
        expect.objectContaining({ group: service.group, topic: service.topics.work, error: 'RangeError', count: 2 }),
      ])
      // As docs/dead-letters.md lists them.
      const fields = ['group', 'topic', 'error', 'count', 'oldest', 'newest']
      expect(Object.keys(documents(listed.out)[0])).toEqual(fields)
      const table = await rxmika(['dlq', 'ls', ...service.flags])
      expect(table.out).toMatch(/^GROUP +TOPIC +ERROR +COUNT +OLDEST +NEWEST\n/)
      const shown = await rxmika(['dlq', 'show', '--json', '--offsets', '0:1', ...service.flags])
      expect(documents(shown.out)).toEqual([
        expect.objectContaining({
          place: `${service.topics.dlq}-0@1`,
          key: 'b',
          value: 'b',
          deadLetter: expect.objectContaining({ group: service.group, reason: 'no b', offset: '1', retries: 0 }),
        }),
      ])
      expect(Object.keys(documents(shown.out)[0])).toEqual(['place', 'deadLetter', 'key', 'value', 'headers'])
    })
  })

  describe('dlq show', () => {
    scenario(
      'shows bytes that are no text as hexadecimal, and shortens long values only in a terminal',
      async service => {
        const headers = { mika_err_mail_org_topic: 'orders', mika_err_mail_retries: '0', mika_err_mail_msg: 'declined' }
        const [topic, long] = [service.topics.dlq, 'x'.repeat(900_000)]
        const client = service.start()
        const deadLetters = [
          { topic, key: Buffer.from([0, 0xff]), value: Buffer.from([0xfe, 0x80]), headers },
          { topic, key: 'k', value: long, headers },
        ]
        await lastValueFrom(client.publish(deadLetters))
        const args = ['dlq', 'show', ...service.flags]
        const shown = await rxmika(args)
        expect(shown.out).toContain('  key     0x00ff\n  value   0xfe80\n')
        expect(shown.out).toContain(`  value   ${long}\n`)
        const terminal = await command(args, { env: brokers, columns: 80 })
        expect(terminal.out).toContain(
          `  value   ${'x'.repeat(2_000)}… (900000 bytes; --json and a pipe have all of them)\n`,
        )
        const [binary, text] = documents((await rxmika([...args, '--json', '--value', 'hex'])).out)
        expect(binary).toMatchObject({ keyHex: '00ff', value: 'fe80' })
        expect(text.key).toBe('k')
        expect(text).not.toHaveProperty('keyHex')
      },
    )
  })

  describe('dlq redrive', () => {
    scenario('of several groups at once delivers each dead letter once to each of them', async service => {
      await withDeadLetters(service, 'a', 'b')
      service.start(`other-${service.id}`)
      await service.deadLetters(4)
      service.failing.clear()
      const redriven = await rxmika(['dlq', 'redrive', '--yes', '--json', ...service.flags])
      expect(redriven.code).toBe(0)
      expect(documents(redriven.out)).toHaveLength(2)
      for (const document of documents(redriven.out)) expect(document).toMatchObject({ redriven: 2, skipped: 0 })
      const seen = await service.deliveries(8)
      expect(seen.slice(4).sort()).toEqual(['a retry 1', 'b retry 1', 'other a retry 1', 'other b retry 1'])
      expect(await rxmika(['dlq', 'redrive', '--yes', '--json', ...service.flags])).toMatchObject({ code: 0, out: '' })
    })

    scenario('delivers each dead letter again as attempt 1, only to its group, and only once', async service => {
      const client = await withDeadLetters(service, 'a', 'b')
      service.start(`other-${service.id}`)
      // The other group has failed both records too, and has its own dead letters.
      await service.deadLetters(4)
      await service.deliveries(4)
      service.failing.clear()
      const redriven = await rxmika(['dlq', 'redrive', '--yes', '--json', '--group', service.group, ...service.flags])
      expect(redriven).toMatchObject({ code: 0 })
      expect(documents(redriven.out)).toEqual([{ group: service.group, redriven: 2, skipped: 0 }])
      const again = await rxmika(['dlq', 'redrive', '--yes', '--json', '--group', service.group, ...service.flags])
      expect(again).toMatchObject({ code: 0, out: '' })
      const seen = await service.deliveries(6)
      expect(seen.slice(4).sort()).toEqual(['a retry 1', 'b retry 1'])
      // Later deliveries show that there were no others before them.
      await lastValueFrom(client.replayDlq(), { defaultValue: undefined })
      await service.publish(client, 'last')
      const all = await service.deliveries(8)
      expect(all.slice(6).sort()).toEqual(['last topic 1', 'other last topic 1'])
    })

    scenario('asks for confirmation first, and does nothing without a terminal', async service => {
      await withDeadLetters(service, 'a')
      const refused = await rxmika(['dlq', 'redrive', ...service.flags])
      expect(refused.code).toBe(3)
      expect(refused.err).toContain('--yes')
      const dry = await rxmika(['dlq', 'redrive', '--dry-run', ...service.flags])
      expect(dry).toMatchObject({ code: 0, out: '' })
      expect(dry.err).toContain(`1 dead letter of group ${service.group} would be redriven to ${service.topics.retry}`)
      const listed = await rxmika(['dlq', 'ls', '--json', ...service.flags])
      expect(documents(listed.out)).toHaveLength(1)
    })

    scenario('run several times at once, delivers each dead letter once', async service => {
      const values = Array.from({ length: 40 }, (_, at) => `v${at}`)
      const client = await withDeadLetters(service, ...values)
      service.failing.clear()
      const outcomes = await Promise.all(
        [1, 2, 3].map(() => rxmika(['dlq', 'redrive', '--yes', '--json', '--rate', '40', ...service.flags])),
      )
      // A fenced command reports that, and the next command does the rest.
      for (const { code, err } of outcomes) if (code !== 0) expect(err).toContain('another producer has taken over')
      await rxmika(['dlq', 'redrive', '--yes', ...service.flags])
      await service.publish(client, 'last')
      await lastValueFrom(
        service.delivered.pipe(
          tap(() => {}),
          take(81),
        ),
      )
      const seen = await service.deliveries(81)
      expect(seen.filter(text => text.includes('retry')).sort()).toEqual(values.map(value => `${value} retry 1`).sort())
      const listed = await rxmika(['dlq', 'ls', '--json', ...service.flags])
      expect(listed.out).toBe('')
    })

    scenario('interrupted, ends after a complete transaction, and the next run does the rest', async service => {
      const values = Array.from({ length: 12 }, (_, at) => `v${at}`)
      const client = await withDeadLetters(service, ...values)
      service.failing.clear()
      const args = ['dlq', 'redrive', '--yes', '--json', ...service.flags]
      const redriving = new Running([...args, '--rate', '4'], { env: brokers })
      // A rate of 4 has transactions of one dead letter.
      await lastValueFrom(
        service.delivered.pipe(
          filter(text => text.includes('retry')),
          take(3),
        ),
      )
      redriving.interrupt()
      const { code, err } = await redriving.ended
      expect(code).toBe(1)
      const found =
        /(\d+) of 12 dead letters of group billing-\w+ are redriven, and the rest is untouched: interrupted by SIGINT/.exec(
          err,
        )
      const done = Number(found?.[1])
      expect(done).toBeGreaterThanOrEqual(3)
      expect(done).toBeLessThan(12)
      expect(documents((await rxmika(args)).out)).toEqual([{ group: service.group, redriven: 12 - done, skipped: 0 }])
      await lastValueFrom(client.replayDlq(), { defaultValue: undefined })
      await service.publish(client, 'last')
      const seen = await service.deliveries(25)
      expect(seen.slice(12).sort()).toEqual([...values.map(value => `${value} retry 1`), 'last topic 1'].sort())
    })

    scenario(
      'with --limit, redrives the dead letters that show lists, also when run again',
      async service => {
        await withDeadLetters(service, ...Array.from({ length: 9 }, (_, at) => `v${at}`))
        const some = ['--limit', '4', ...service.flags]
        const placesOf = async () =>
          documents((await rxmika(['dlq', 'show', '--json', ...some])).out).map(({ place }) => place)
        const places = await placesOf()
        expect(places).toHaveLength(4)
        expect(await placesOf()).toEqual(places)
        expect(documents((await rxmika(['dlq', 'discard', '--yes', '--json', ...some])).out)).toMatchObject([
          { discarded: 4 },
        ])
        expect((await placesOf()).filter(place => places.includes(place))).toEqual([])
        expect(documents((await rxmika(['dlq', 'ls', '--json', ...service.flags])).out)).toMatchObject([{ count: 5 }])
      },
      3,
    )

    scenario('--to original writes dead letters of any client to the topic first published to, once', async service => {
      const client = service.start()
      service.start(`other-${service.id}`)
      const int = (value: number) => Buffer.from([0, 0, 0, value])
      const headers = {
        'kafka_dlt-original-topic': service.topics.work,
        'kafka_dlt-original-partition': int(0),
        'kafka_dlt-original-offset': Buffer.concat([int(0), int(7)]),
        'kafka_dlt-exception-fqcn': 'com.example.Declined',
        'kafka_dlt-original-consumer-group': 'spring',
        'retry_topic-attempts': int(4),
        trace: 'kept',
      }
      const share = { '__dlq.errors.topic': service.topics.work, '__dlq.errors.delivery.count': '5' }
      const deadLetters = [
        { topic: service.topics.dlq, key: 'k', value: 'of spring', headers, timestamp: 1_700_000_000_000 },
        { topic: service.topics.dlq, value: 'of a share group', headers: share },
      ]
      await lastValueFrom(client.publish(deadLetters))
      const refused = await rxmika(['dlq', 'redrive', '--yes', ...service.flags])
      expect(refused).toMatchObject({ code: 2, out: '' })
      expect(refused.err).toContain(
        `2 dead letters (${service.topics.dlq}-0@0, ${service.topics.dlq}-0@1) cannot be redriven`,
      )
      expect(refused.err).toContain('--to original')
      const args = ['dlq', 'redrive', '--yes', '--json', '--to', 'original', '--dlq-topic', service.topics.dlq]
      const { code, out } = await rxmika(args)
      expect(code).toBe(0)
      expect(documents(out)).toEqual([
        { group: 'spring', redriven: 1, skipped: 0 },
        { group: '', redriven: 1, skipped: 0 },
      ])
      expect((await service.deliveries(4)).sort()).toEqual([
        'of a share group topic 1',
        'of spring topic 1',
        'other of a share group topic 1',
        'other of spring topic 1',
      ])
      const [copy] = await lastValueFrom(client.read(service.topics.work).pipe(toArray()))
      expect(copy).toMatchObject({
        key: Buffer.from('k'),
        value: Buffer.from('of spring'),
        timestamp: 1_700_000_000_000,
      })
      expect(copy!.headerPairs.map(([name]) => name)).toEqual([
        'trace',
        'mika_err_spring_redriven_at',
        'mika_err_spring_redriven_by',
      ])
      expect(await rxmika(args)).toMatchObject({ code: 0, out: '' })
    })

    scenario('names a topic that does not exist, and the flag, before it reads or asks', async service => {
      const gone = ['dlq', 'redrive', '--dlq-topic', service.topics.dlq, '--retry-topic', 'not-there']
      expect(await rxmika(gone)).toMatchObject({
        code: 2,
        err: expect.stringContaining("--retry-topic: topic 'not-there' does not exist"),
      })
      const audit = ['dlq', 'discard', '--audit-topic', 'not-there', ...service.flags]
      expect(await rxmika(audit)).toMatchObject({
        code: 2,
        err: expect.stringContaining("--audit-topic: topic 'not-there' does not exist"),
      })
    })

    scenario('writes to the audit topic what was done, and by whom', async service => {
      await withDeadLetters(service, 'a')
      const audit = `audit-${service.id}`
      await createTopic({ brokers: kafkaBrokers }, { topic: audit, numPartitions: 1 })
      await rxmika(['dlq', 'redrive', '--yes', '--by', 'ada', '--audit-topic', audit, ...service.flags])
      const client = service.start()
      const [record] = await lastValueFrom(client.read(audit).pipe(toArray()))
      expect(String(record!.key)).toBe(service.group)
      expect(JSON.parse(String(record!.value))).toEqual({
        command: 'dlq redrive',
        group: service.group,
        by: 'ada',
        at: expect.stringMatching(/^\d{4}-.*Z$/),
        dlqTopic: service.topics.dlq,
        deadLetters: [`${service.topics.dlq}-0@0`],
        count: 1,
      })
      const [copy] = await lastValueFrom(client.read(service.topics.retry).pipe(toArray()))
      expect(String(copy!.header(`mika_err_${service.group}_redriven_by`))).toBe('ada')
    })
  })

  describe('dlq discard', () => {
    scenario(
      'completes dead letters for their group, so that neither a replay nor a redrive delivers them',
      async service => {
        const client = await withDeadLetters(service, 'a', 'b')
        service.failing.clear()
        const shown = documents((await rxmika(['dlq', 'show', '--json', ...service.flags])).out)
        const offset = shown.find(({ value }) => value === 'a').place.split('@')[1]
        const discarded = await rxmika([
          'dlq',
          'discard',
          '--yes',
          '--json',
          '--offsets',
          `0:${offset}`,
          ...service.flags,
        ])
        expect(documents(discarded.out)).toEqual([{ group: service.group, discarded: 1, skipped: 0 }])
        await lastValueFrom(client.replayDlq(), { defaultValue: undefined })
        expect(await service.deliveries(3)).toEqual([expect.any(String), expect.any(String), 'b dlq 1'])
        const redriven = await rxmika(['dlq', 'redrive', '--yes', '--json', ...service.flags])
        expect(redriven.out).toBe('')
      },
    )
  })

  it('has finished when it ends: the next command sees the result', async () => {
    const topic = `dlq-${randomUUID()}`
    const numPartitions = 20
    await createTopic({ brokers: kafkaBrokers }, { topic, numPartitions })
    const client = createClient({ brokers: kafkaBrokers, logger: false })
    const group = `billing-${topic}`
    const headers = { [`mika_err_${group}_org_topic`]: 'orders', [`mika_err_${group}_retries`]: '0' }
    const deadLetters = Array.from({ length: numPartitions }, (_, partition) => ({
      topic,
      partition,
      value: 'v',
      headers,
    }))
    // The coordinator answers a commit before its end marker is in the partitions: one read in ten came too early.
    for (let round = 0; round < 8; round++) {
      await lastValueFrom(client.publish(deadLetters))
      const { out } = await rxmika(['dlq', 'discard', '--yes', '--json', '--dlq-topic', topic])
      expect(documents(out)).toEqual([{ group, discarded: numPartitions, skipped: 0 }])
      expect((await rxmika(['dlq', 'ls', '--json', '--dlq-topic', topic])).out).toBe('')
    }
    await client.close()
  })

  describe('lag', () => {
    scenario('shows the positions of a group', async service => {
      const client = service.start()
      await service.publish(client, 'a', 'b')
      await service.deliveries(2)
      await client.closeGracefully()
      await service.publish(createClient({ brokers: kafkaBrokers, logger: false }), 'c')
      const { code, out } = await rxmika(['lag', service.group, '--json'])
      expect(code).toBe(0)
      const row = { topic: service.topics.work, partition: 0, committed: 2, end: 3, lag: 1, finishedBehind: 0 }
      expect(documents(out)).toContainEqual(row)
    })
  })

  describe('lag of a group with a running client', () => {
    const protocols = hasConsumerProtocol ? groupProtocols : (['classic'] as const)
    for (const groupProtocol of protocols) {
      scenario(`counts what is finished behind its position (${groupProtocol} protocol)`, async service => {
        const { group, topics } = service
        const client = createClient({ brokers: kafkaBrokers, group, groupProtocol, logger: false })
        const records: ConsumeRecord[] = []
        const events: ClientEvent[] = []
        client.events.subscribe(event => events.push(event))
        const delivered = new Promise<void>(resolve => {
          client.topic(topics.work).subscribe(record => {
            if (records.push(record) === 5) resolve()
          })
        })
        const committed = (offset: bigint) =>
          firstValueFrom(client.events.pipe(filter(event => event.type === 'committed' && event.offset === offset)))
        try {
          client.start()
          await service.publish(client, 'a', 'b', 'c', 'd', 'e')
          await delivered
          const first = committed(1n)
          // The first record last, so that its commit includes the others.
          for (const at of [3, 2, 0]) records[at]!.ack()
          await first
          const isConsumer = (await consumerGroupState(kafkaBrokers, group)) !== undefined
          expect(isConsumer).toBe(groupProtocol === 'consumer')

          const json = await rxmika(['lag', group, '--json'])
          expect(json).toMatchObject({ code: 0, err: '' })
          const row = { topic: topics.work, partition: 0, committed: 1, end: 5, lag: 4, finishedBehind: 2 }
          expect(documents(json.out)).toEqual([row])
          await expectTables(group, [`${topics.work}-0`, 1, 5, 4, 2])

          const last = committed(5n)
          for (const at of [1, 4]) records[at]!.ack()
          await last
          await expectTables(group, [`${topics.work}-0`, 5, 5, 0, 0])
          // The command only read, so the group is unchanged.
          const types = new Set(events.map(({ type }) => type))
          for (const type of ['revoked', 'lost', 'moved', 'restarted'] as const) expect(types).not.toContain(type)
        } finally {
          await client.close()
        }
      })
    }
  })

  describe('lag in special cases', () => {
    scenario('shows the records finished behind an unfinished one, and repeats with --watch', async service => {
      const client = createClient({ brokers: kafkaBrokers, group: service.group, logger: false })
      const records: ConsumeRecord[] = []
      const all = new Promise<void>(resolve => {
        client.topic(service.topics.work).subscribe(record => {
          if (records.push(record) === 3) resolve()
        })
      })
      client.start()
      await service.publish(client, 'a', 'b', 'c')
      await all
      for (const record of records.slice(1)) record.ack()
      await client.close()
      const row = { topic: service.topics.work, partition: 0, committed: 0, end: 3, lag: 3, finishedBehind: 2 }
      expect(documents((await rxmika(['lag', service.group, '--json'])).out)).toEqual([row])

      const watching = new Running(['lag', service.group, '--watch', '--json'], { env: brokers })
      expect(await watching.document(({ end }) => end === 3)).toEqual({ at: expect.any(Number), ...row })
      const publisher = createClient({ brokers: kafkaBrokers, logger: false })
      await service.publish(publisher, 'd')
      await publisher.close()
      expect(await watching.document(({ end }) => end === 4)).toMatchObject({ committed: 0, lag: 4, finishedBehind: 2 })
      watching.interrupt()
      expect(await watching.ended).toMatchObject({ code: 0, err: '' })
    })
  })

  describe('with wrong arguments', () => {
    it.each([
      { args: ['dlq', 'ls'], says: /--dlq-topic/, code: 2 },
      { args: ['dlq', 'nothing'], says: /unknown command/, code: 2 },
      { args: ['dlq', 'ls', '--dlq-topic', 'd', '--since', 'yesterday'], says: /--since must be RFC 3339/, code: 2 },
      { args: ['dlq', 'ls', '--dlq-topic', 'd', '--offsets', '7'], says: /--offsets must be/, code: 2 },
      { args: ['dlq', 'ls', '--dlq-topic', 'd', '--limit', '0'], says: /--limit must be/, code: 2 },
      { args: ['dlq', 'show', '--dlq-topic', 'd', '--value', 'xml'], says: /--value.*text, json, hex/, code: 2 },
      { args: ['dlq', 'redrive', '--dlq-topic', 'd', '--to', 'moon'], says: /--to.*retry, original/, code: 2 },
      { args: ['dlq', 'ls', '--dlq-topic', 'not-there'], says: /topic 'not-there' does not exist/, code: 2 },
      { args: ['lag', 'no-such-group'], says: /group 'no-such-group'/, code: 1 },
    ])('$args ends with $code and reports the mistake', async ({ args, says, code }) => {
      const ended = await rxmika(args)
      expect(ended.err).toMatch(says)
      expect(ended).toMatchObject({ code, out: '' })
    })

    it('names the broker that does not answer, and never prints the password', async () => {
      const env = {
        KAFKA_BROKERS: '127.0.0.1:1',
        KAFKA_SASL_MECHANISM: 'PLAIN',
        KAFKA_SASL_USERNAME: 'ada',
        KAFKA_SASL_PASSWORD: 'hidden-word',
      }
      const { code, err, out } = await rxmika(['lag', 'billing'], env)
      expect(code).toBe(1)
      expect(err).toContain('127.0.0.1:1')
      expect(err + out).not.toContain('hidden-word')
    })
  })
})
