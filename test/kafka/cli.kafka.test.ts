import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { lastValueFrom, ReplaySubject, take, tap, toArray } from 'rxjs'
import { type Client, type ConsumeRecord, createClient, handle } from 'rxmika'
import { describe, expect, it } from 'vitest'
import { createTopic } from './create-topic'
import { describeKafka, kafkaBrokers } from './describe-kafka'

const program = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs the command line as a process of its own, in a pipe. */
function rxmika(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', program, ...args], {
      env: { ...process.env, KAFKA_BROKERS: kafkaBrokers.join(','), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [out, err] = ['', '']
    child.stdout.on('data', chunk => {
      out += chunk
    })
    child.stderr.on('data', chunk => {
      err += chunk
    })
    child.on('error', reject)
    child.on('close', code => resolve({ code, out, err }))
  })
}

const documents = (text: string) =>
  text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line))

/** A service with a retry and a DLQ topic, whose handler fails whatever it is told to fail. */
class Service {
  readonly #clients: Client[] = []
  readonly topics: { readonly work: string; readonly retry: string; readonly dlq: string }
  readonly group: string
  /** By value: fails once it is delivered. */
  readonly failing = new Set<string>()
  readonly delivered = new ReplaySubject<string>()
  readonly dead = new ReplaySubject<void>()

  constructor(readonly id: string) {
    this.group = `billing-${id}`
    this.topics = { work: `orders-${id}`, retry: `retry-${id}`, dlq: `dlq-${id}` }
  }

  static async make(partitions = 1): Promise<Service> {
    const service = new Service(randomUUID().slice(0, 8))
    for (const topic of Object.values(service.topics)) {
      await createTopic({ brokers: kafkaBrokers }, { topic, numPartitions: partitions })
    }
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

  /** Resolves once so many letters are written. */
  async letters(count: number): Promise<void> {
    await lastValueFrom(this.dead.pipe(take(count)))
  }

  /** Resolves with the first deliveries. */
  deliveries(count: number): Promise<string[]> {
    return lastValueFrom(this.delivered.pipe(take(count), toArray()))
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map(client => client.close()))
  }
}

describeKafka('the command line', () => {
  const scenario = (title: string, test: (service: Service) => Promise<void>) =>
    it(title, async () => {
      const service = await Service.make()
      try {
        await test(service)
      } finally {
        await service.close()
      }
    })

  /** A service that has given up these. */
  async function withLetters(service: Service, ...values: string[]): Promise<Client> {
    for (const value of values) service.failing.add(value)
    const client = service.start()
    await service.publish(client, ...values)
    await service.letters(values.length)
    return client
  }

  describe('dlq ls and show', () => {
    scenario('count and show what nobody has dealt with', async service => {
      await withLetters(service, 'a', 'b')
      const listed = await rxmika(['dlq', 'ls', '--json', ...service.flags])
      expect(listed).toMatchObject({ code: 0, err: '' })
      expect(documents(listed.out)).toEqual([
        expect.objectContaining({ group: service.group, topic: service.topics.work, error: 'RangeError', count: 2 }),
      ])
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
    })
  })

  describe('dlq redrive', () => {
    scenario('delivers each letter once more, as attempt 1, to its group alone, and never twice', async service => {
      const client = await withLetters(service, 'a', 'b')
      service.start(`other-${service.id}`)
      // The other group has failed both, too, and has letters of its own.
      await service.letters(4)
      await service.deliveries(4)
      service.failing.clear()
      const redriven = await rxmika(['dlq', 'redrive', '--yes', '--json', '--group', service.group, ...service.flags])
      expect(redriven).toMatchObject({ code: 0 })
      expect(documents(redriven.out)).toEqual([{ group: service.group, redriven: 2, skipped: 0 }])
      const again = await rxmika(['dlq', 'redrive', '--yes', '--json', '--group', service.group, ...service.flags])
      expect(again).toMatchObject({ code: 0, out: '' })
      const seen = await service.deliveries(6)
      expect(seen.slice(4).sort()).toEqual(['a retry 1', 'b retry 1'])
      // What comes behind shows that nothing else came before.
      await lastValueFrom(client.replayDlq(), { defaultValue: undefined })
      await service.publish(client, 'last')
      const all = await service.deliveries(8)
      expect(all.slice(6).sort()).toEqual(['last topic 1', 'other last topic 1'])
    })

    scenario('asks before it does anything, and without a terminal does nothing', async service => {
      await withLetters(service, 'a')
      const refused = await rxmika(['dlq', 'redrive', ...service.flags])
      expect(refused.code).toBe(3)
      expect(refused.err).toContain('--yes')
      const dry = await rxmika(['dlq', 'redrive', '--dry-run', ...service.flags])
      expect(dry).toMatchObject({ code: 0, out: '' })
      expect(dry.err).toContain(`1 letter of group ${service.group} would be redriven to ${service.topics.retry}`)
      const listed = await rxmika(['dlq', 'ls', '--json', ...service.flags])
      expect(documents(listed.out)).toHaveLength(1)
    })

    scenario('done by several at once, delivers each letter once', async service => {
      const values = Array.from({ length: 40 }, (_, at) => `v${at}`)
      const client = await withLetters(service, ...values)
      service.failing.clear()
      const outcomes = await Promise.all(
        [1, 2, 3].map(() => rxmika(['dlq', 'redrive', '--yes', '--json', '--rate', '40', ...service.flags])),
      )
      // Who was fenced says so; what was left is done by the next.
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

    scenario('writes what was done to the audit topic, and who did it', async service => {
      await withLetters(service, 'a')
      const audit = `audit-${service.id}`
      await createTopic({ brokers: kafkaBrokers }, { topic: audit, numPartitions: 1 })
      await rxmika(['dlq', 'redrive', '--yes', '--by', 'ada', '--audit-topic', audit, ...service.flags])
      const client = service.start()
      const [record] = await lastValueFrom(client.read(audit).pipe(toArray()))
      expect(JSON.parse(String(record!.value))).toMatchObject({
        command: 'dlq redrive',
        group: service.group,
        by: 'ada',
        letters: [`${service.topics.dlq}-0@0`],
      })
      const [copy] = await lastValueFrom(client.read(service.topics.retry).pipe(toArray()))
      expect(String(copy!.header(`mika_err_${service.group}_redriven_by`))).toBe('ada')
    })
  })

  describe('dlq discard', () => {
    scenario('completes letters for their group: neither a replay nor a redrive has them', async service => {
      const client = await withLetters(service, 'a', 'b')
      service.failing.clear()
      const discarded = await rxmika(['dlq', 'discard', '--yes', '--json', '--offsets', '0:0', ...service.flags])
      expect(documents(discarded.out)).toEqual([{ group: service.group, discarded: 1, skipped: 0 }])
      await lastValueFrom(client.replayDlq(), { defaultValue: undefined })
      expect(await service.deliveries(3)).toEqual([expect.any(String), expect.any(String), 'b dlq 1'])
      const redriven = await rxmika(['dlq', 'redrive', '--yes', '--json', ...service.flags])
      expect(redriven.out).toBe('')
    })
  })

  describe('lag', () => {
    scenario('says where a group stands', async service => {
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

  describe('used wrongly', () => {
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
    ])('$args ends with $code and says what is wrong', async ({ args, says, code }) => {
      const ended = await rxmika(args)
      expect(ended.err).toMatch(says)
      expect(ended).toMatchObject({ code, out: '' })
    })

    it('says which broker does not answer, and never the password', async () => {
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
