import { Writable } from 'node:stream'
import { pino } from 'pino'
import { lastValueFrom, tap } from 'rxjs'
import type { ConsumeRecord, Stall } from 'rxmika'
import { describe, expect } from 'vitest'
import type { Backend } from '../backend'
import { Collected } from '../collected'
import { numbered, scenarios } from '../world'

export function reporting(backend: Backend): void {
  const scenario = scenarios(backend)

  /** A logger, and the lines it has written. */
  function logging(level: string) {
    const lines: string[] = []
    const sink = new Writable({
      write(chunk, _, done) {
        lines.push(String(chunk))
        done()
      },
    })
    return { logger: pino({ level }, sink), lines }
  }

  describe('reporting', () => {
    scenario(
      'emits events for assigned partitions with their position, for commits, and for revoked partitions',
      async world => {
        const group = world.name('group')
        const topic = await world.topic('orders', 2)
        await backend.publish(topic, numbered(0, 3))
        const run = world.client({ group })
        run.client.topic(topic).subscribe(record => record.ack())
        run.client.start()
        await run.committed(topic, 0, 3)
        await run.client.close()
        const of = (kind: string) => run.events.values.filter(({ type }) => type === kind)
        const byPartition = (a: object, b: object) =>
          (a as { partition: number }).partition - (b as { partition: number }).partition
        expect(of('assigned').sort(byPartition)).toEqual([
          { type: 'assigned', topic, partition: 0, offset: 0n },
          { type: 'assigned', topic, partition: 1, offset: 0n },
        ])
        expect(of('committed').at(-1)).toEqual({ type: 'committed', topic, partition: 0, offset: 3n })
        expect(of('revoked').sort(byPartition)).toEqual([
          { type: 'revoked', topic, partition: 0, offset: 3n },
          { type: 'revoked', topic, partition: 1, offset: 0n },
        ])

        const again = world.client({ group })
        again.client.topic(topic).subscribe()
        await again.start()
        expect(again.events.values.filter(({ type }) => type === 'assigned').sort(byPartition)).toEqual([
          { type: 'assigned', topic, partition: 0, offset: 3n },
          { type: 'assigned', topic, partition: 1, offset: 0n },
        ])
      },
    )

    scenario('reports the record that holds a position back, after stallAfter', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, [{ key: 'k', value: '0' }, ...numbered(1, 3)])
      const run = world.client({ group: world.name('group'), stallAfter: 20 })
      const seen = new Collected(run.client.topic(topic))
      run.client.start()
      await seen.count(3)
      seen.values[1]!.ack()
      const stall = { topic, partition: 0, offset: 0n, key: Buffer.from('k'), attempt: 1, why: 'unsettled' }
      expect(run.client.stalls()).toEqual([expect.objectContaining(stall)])
      await run.event('stalled')
      expect(run.events.values.find(({ type }) => type === 'stalled')).toMatchObject(stall)
      seen.values[0]!.ack()
      await run.event('unstalled')
      await run.committed(topic, 0, 2)
      expect(run.client.stalls()).toEqual([expect.objectContaining({ offset: 2n })])
      seen.values[2]!.ack()
      await run.committed(topic, 0, 3)
      expect(run.client.stalls()).toEqual([])
    })

    scenario('gives the reason why a topic without a subscriber holds its position back', async world => {
      const [topic, other] = await Promise.all([world.topic('orders'), world.topic('other')])
      await backend.publish(topic, numbered(0, 1))
      await backend.publish(other, numbered(0, 1))
      const run = world.client({ group: world.name('group') })
      const orders = run.client.topic(topic)
      run.client.topic(other).subscribe(record => record.ack())
      const first = new Collected(orders)
      run.client.start()
      await Promise.all([first.count(1), run.committed(other, 0, 1)])
      first.unsubscribe()
      expect(run.client.stalls()).toEqual([expect.objectContaining({ topic, offset: 0n, why: 'no-subscriber' })])
    })

    scenario('identifies records by key and by the place first published in all events and reports', async world => {
      const [topic, retryTopic, dlqTopic] = await Promise.all([
        world.topic('orders'),
        world.topic('retries'),
        world.topic('dlq'),
      ])
      await backend.publish(topic, [{ value: 'before' }, { key: 'k', value: 'v' }])
      const run = world.client({ group: world.name('group'), retryTopic, dlqTopic, stallAfter: 20 })
      let replayed: (record: ConsumeRecord) => void = () => {}
      const delivered = new Promise<ConsumeRecord>(resolve => {
        replayed = resolve
      })
      run.client.topic(topic, { retries: 1, dlq: true }).subscribe(record => {
        if (record.key === null) record.ack()
        else if (record.source.kind === 'dlq') replayed(record)
        else record.fail('no')
      })
      run.client.start()
      await run.event('dead-lettered')
      // Its end is cut off below.
      run.client.replayDlq().subscribe({ error: () => {} })
      const record = await delivered
      await run.event('stalled', event => event.topic === dlqTopic)
      const origin = { topic, partition: 0, offset: 1n }
      const read = (from: string) => ({ topic: from, partition: 0, offset: 0n, key: Buffer.from('k'), origin })
      const stall = { ...read(dlqTopic), why: 'unsettled', attempt: 2 }
      // The commits of the other topics may take longer, so only the DLQ topic is compared.
      const ofDlq = (stalls: readonly Stall[]) => stalls.filter(each => each.topic === dlqTopic)
      expect(ofDlq(run.client.stalls())).toMatchObject([stall])
      expect(ofDlq(run.client.stalls({ all: true }))).toMatchObject([stall])
      record.ack()
      record.fail('too late')
      await run.event('unstalled', event => event.topic === dlqTopic)
      await run.committed(dlqTopic, 0, 1)
      await run.client.close()
      record.fail('much too late')

      const of = (type: string) => run.events.values.filter(event => event.type === type)
      expect(of('retried')).toEqual([
        { type: 'retried', topic, partition: 0, offset: 1n, key: Buffer.from('k'), attempt: 1, reason: 'no' },
      ])
      expect(of('dead-lettered')).toEqual([{ type: 'dead-lettered', ...read(retryTopic), attempt: 2, reason: 'no' }])
      expect(of('stalled')).toContainEqual(expect.objectContaining(stall))
      expect(of('unstalled')).toContainEqual({ type: 'unstalled', ...read(dlqTopic) })
      expect(of('outrun')).toEqual([
        { type: 'outrun', ...read(dlqTopic), first: 'ack', then: 'fail', reason: 'too late' },
      ])
    })

    scenario("logs the client's life cycle, and at info nothing per record", async world => {
      const { logger, lines } = logging('info')
      const [topic, retryTopic, dlqTopic] = await Promise.all([
        world.topic('orders'),
        world.topic('retries'),
        world.topic('dlq'),
      ])
      await backend.publish(
        topic,
        numbered(0, 500).map(({ value }) => ({ value: `value ${value}`, key: `key ${value}` })),
      )
      const run = world.client({ group: world.name('group'), retryTopic, dlqTopic, logger })
      run.client
        .topic(topic, { retries: 1, dlq: true })
        .pipe(tap(record => (record.offset % 2n === 0n ? record.ack() : record.fail(new Error('no')))))
        .subscribe()
      run.client.start()
      await Promise.all([run.committed(topic, 0, 500), run.committed(retryTopic, 0, 250)])
      await lastValueFrom(run.client.replayDlq())
      await run.client.closeGracefully()
      expect(lines.length).toBeLessThan(15)
      const text = lines.join('')
      for (const said of ['starting', 'running', 'draining', 'closed']) expect(text).toContain(`the client is ${said}`)
      expect(text).not.toMatch(/(value|key) \d/)
    })

    scenario('never logs or reports a password', async world => {
      const password = 'correct horse battery staple'
      const { logger, lines } = logging('trace')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 1))
      const run = world.client({
        ...{ group: world.name('group'), logger },
        sasl: { mechanism: 'scram-sha-256', username: 'me', password },
      })
      // A broker without SASL refuses it, the in-process one does not care.
      const outcome = new Collected(run.client.topic(topic))
      run.client.start()
      await Promise.race([outcome.count(1).catch(() => {}), run.errors.count(1).catch(() => {})])
      await run.client.close()
      run.expected = run.errors.values.map(error => error.constructor as never)
      const told = [...lines, ...run.errors.values.map(error => deepText(error))].join('\n')
      expect(told.length).toBeGreaterThan(0)
      for (const form of [password, Buffer.from(password).toString('base64'), Buffer.from(password).toString('hex')]) {
        expect(told).not.toContain(form)
      }
    })
  })
}

/** Everything that printing the error can show. */
function deepText(error: unknown): string {
  if (!(error instanceof Error)) return JSON.stringify(error) ?? ''
  return [error.stack, JSON.stringify({ ...error, cause: undefined }), deepText(error.cause)].join('\n')
}
