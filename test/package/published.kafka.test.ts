import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { filter, firstValueFrom, lastValueFrom } from 'rxjs'
import { type ConsumeRecord, createClient } from 'rxmika'
import { inspect } from 'rxmika/inspector'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTopic } from '../kafka/create-topic'
import { describeKafka, kafkaBrokers } from '../kafka/describe-kafka'
import { hasConsumerProtocol } from '../kafka/group-protocols'
import { PseudoTerminal, visibleOf } from '../pseudo-terminal'
import { PackedPackage, toldByProgram } from './packed'

// A bundler once moved a read past a call that it depends on. Sources and tests were right, but the published package
// lost every header, by which retry copies are recognized.
describeKafka('the packed package on Kafka', () => {
  let packed: PackedPackage
  beforeAll(async () => {
    packed = await PackedPackage.make()
    await packed.compile('nodenext')
  }, 120_000)
  afterAll(() => packed?.remove())

  it.each(['esm', 'cjs'] as const)(
    'retries a record and keeps its headers, in a program of the format %s',
    async format => {
      const suffix = `-${randomUUID()}`
      for (const topic of ['orders', 'retries', 'dlq']) {
        await createTopic({ brokers: kafkaBrokers }, { topic: topic + suffix, numPartitions: 1 })
      }
      const env = { KAFKA_BROKERS: kafkaBrokers.join(','), KAFKA_GLOBAL_SUFFIX: suffix }
      expect(await packed.run(format, env)).toEqual(toldByProgram)
    },
  )

  // The command line of the installed package, in a terminal and in a pipe.
  describe('rxmika', () => {
    const id = randomUUID().slice(0, 8)
    const names = { orders: `orders-${id}`, dlq: `dlq-${id}`, retry: `retry-${id}` }
    const group = `billing-${id}`
    const long = `of-the-european-union-${'and-others-'.repeat(6)}${id}`
    const env = {
      ...process.env,
      ...{ KAFKA_BROKERS: kafkaBrokers.join(','), KAFKA_DLQ_TOPIC: names.dlq, KAFKA_RETRY_TOPIC: names.retry },
    }
    const client = createClient({ brokers: kafkaBrokers, logger: false })
    const bin = () => join(packed.project, 'node_modules', '.bin', 'rxmika')

    /** One dead letter each, as this library writes it. */
    const write = (...groups: readonly string[]) => {
      const deadLetters = groups.map(of => {
        const fields = { org_topic: names.orders, retries: '2', msg: 'declined\u001b[31m', error_name: 'RangeError' }
        const entries = Object.entries(fields).map(([name, value]) => [`mika_err_${of}_${name}`, value])
        return { topic: names.dlq, value: '{\n  "amount": 7\n}', headers: Object.fromEntries(entries) }
      })
      return lastValueFrom(client.publish(deadLetters))
    }

    const piped = (...args: string[]) =>
      promisify(execFile)(bin(), args, { env }).then(
        ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
        ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
      )
    const inTerminal = (...args: string[]) => new PseudoTerminal(bin(), args, { columns: 80, rows: 24, env })

    /** The text as a terminal of 80 columns shows it. Expects that no line is wrapped. */
    function shownBy({ text }: PseudoTerminal): string {
      const shown = visibleOf(text)
      for (const line of shown.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80)
      return shown
    }

    beforeAll(async () => {
      for (const topic of Object.values(names))
        await createTopic({ brokers: kafkaBrokers }, { topic, numPartitions: 1 })
      await write(group, group, group)
    })
    afterAll(() => client.close())

    it('writes no control characters into a pipe, and asks no questions there', async () => {
      const listed = await piped('dlq', 'ls')
      const shown = await piped('dlq', 'show', '--limit', '1')
      const refused = await piped('dlq', 'redrive')
      expect(listed).toMatchObject({ code: 0, stderr: '' })
      expect(listed.stdout).toMatch(
        new RegExp(`^GROUP +TOPIC +ERROR +COUNT +OLDEST +NEWEST\n${group} +${names.orders} +RangeError +3 +`),
      )
      expect(shown).toMatchObject({ code: 0, stderr: '' })
      expect(shown.stdout).toContain(
        `reason  RangeError: declined\\u001b[31m\n  key     null\n  value   {\n            "amount": 7\n          }\n`,
      )
      expect(refused).toMatchObject({ code: 3, stdout: '' })
      expect(refused.stderr).toBe(
        `3 dead letters of group ${group} will be redriven to ${names.retry}\nrxmika: nothing was done: without a terminal to ask on, --yes is needed\n`,
      )
      for (const { stdout, stderr } of [listed, shown, refused]) expect(stdout + stderr).not.toMatch(/[^\P{Cc}\n]/u)
    })

    it('in a terminal asks, and treats every answer but yes as no, as well as Ctrl-C and Ctrl-D', async () => {
      const asked = ['n\r', '\u0003', '\u0004'].map(async answer => {
        const terminal = inTerminal('dlq', 'redrive')
        await terminal.shows(/Continue\? \[y\/N\] /)
        terminal.type(answer)
        expect(await terminal.ended).toBe(3)
        expect(shownBy(terminal)).toContain('rxmika: nothing was done\n')
      })
      await Promise.all(asked)
    })

    it('in a terminal shows its progress, clears it, and prints the result', async () => {
      const terminal = inTerminal('dlq', 'redrive', '--rate', '4')
      await terminal.shows(/Continue\? \[y\/N\] /)
      terminal.type('y\r')
      expect(await terminal.ended).toBe(0)
      const shown = shownBy(terminal)
      expect(shown).toMatch(/redriving \[?=*-* *\]? *\d\/3/)
      expect(shown.trimEnd().split('\n').at(-1)).toBe(`3 dead letters of group ${group} redriven to ${names.retry}`)
      // The cursor and line wrapping are restored.
      expect(terminal.text.lastIndexOf('\u001b[?25h')).toBeGreaterThan(terminal.text.lastIndexOf('\u001b[?25l'))
      expect(terminal.text.lastIndexOf('\u001b[?7h')).toBeGreaterThan(terminal.text.lastIndexOf('\u001b[?7l'))
    })

    it('in a terminal splits a row that is too wide into lines', async () => {
      await write(`${group}-${long.slice(0, 50)}`)
      const terminal = inTerminal('dlq', 'ls')
      expect(await terminal.ended).toBe(0)
      expect(shownBy(terminal)).toMatch(
        new RegExp(
          `GROUP   ${group}-${long.slice(0, 50)}\nTOPIC   ${names.orders}\nERROR   RangeError\nCOUNT   1\nOLDEST  .*Z\nNEWEST  .*Z\n`,
        ),
      )
    })

    it.skipIf(!hasConsumerProtocol)('shows the lag of a group of the consumer protocol', async () => {
      const [topic, of] = [`consumed-${id}`, `consuming-${id}`]
      await createTopic({ brokers: kafkaBrokers }, { topic, numPartitions: 1 })
      const member = createClient({ brokers: kafkaBrokers, group: of, groupProtocol: 'consumer', logger: false })
      const records: ConsumeRecord[] = []
      const all = new Promise<void>(resolve => {
        member.topic(topic).subscribe(record => {
          if (records.push(record) === 3) resolve()
        })
      })
      const committed = firstValueFrom(
        member.events.pipe(filter(event => event.type === 'committed' && event.offset === 1n)),
      )
      member.start()
      await lastValueFrom(client.publish([1, 2, 3].map(() => ({ topic, value: 'v' }))))
      await all
      for (const at of [2, 0]) records[at]!.ack()
      await committed
      const terminal = inTerminal('lag', of)
      const [shown, table, json] = await Promise.all([
        terminal.ended.then(code => ({ code, text: shownBy(terminal) })),
        piped('lag', of),
        piped('lag', of, '--json'),
      ])
      const row = new RegExp(`^PARTITION +COMMITTED +END +LAG +FINISHED BEHIND\n${topic}-0 +1 +3 +2 +1\n$`)
      expect(shown).toEqual({ code: 0, text: expect.stringMatching(row) })
      expect(table).toEqual({ code: 0, stdout: expect.stringMatching(row), stderr: '' })
      expect(json).toMatchObject({ code: 0, stderr: '' })
      expect(JSON.parse(json.stdout)).toEqual({ topic, partition: 0, committed: 1, end: 3, lag: 2, finishedBehind: 1 })
      await member.close()
    })

    it('shows the lag of a group and a running process live, until Ctrl-C', async () => {
      const member = createClient({ brokers: kafkaBrokers, group, logger: false })
      const held = new Promise<void>(resolve => {
        member.topic(names.orders).subscribe(record => (record.offset === 1n ? resolve() : record.ack()))
      })
      const committed = firstValueFrom(member.events.pipe(filter(({ type }) => type === 'committed')))
      member.start()
      await lastValueFrom(client.publish([1, 2].map(() => ({ topic: names.orders, key: 'k', value: 'v' }))))
      await Promise.all([held, committed])
      const { url } = await inspect(member)
      const [lag, watch] = [inTerminal('lag', group, '--watch'), inTerminal('watch', url, '--held-for', '0s')]
      await Promise.all([
        lag.shows(new RegExp(`PARTITION +COMMITTED +END +LAG +FINISHED BEHIND\n${names.orders}-0 +1 +2 +1 +0\n`)),
        watch.shows(new RegExp(`held +${names.orders}-0@1\\s+unsettled for \\d+ (ms|s), attempt 1, key k\n`)),
      ])
      for (const terminal of [lag, watch]) terminal.type('\u0003')
      expect(await Promise.all([lag.ended, watch.ended])).toEqual([0, 0])
      const stalls = inTerminal('stalls', url)
      expect(await stalls.ended).toBe(0)
      for (const terminal of [lag, watch, stalls]) shownBy(terminal)
      expect(await piped('stalls', url)).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^PLACE .*\n.*unsettled.*\n$/),
      })
      await member.close()
    })
  })
})
