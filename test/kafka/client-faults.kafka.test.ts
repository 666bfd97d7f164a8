import { setImmediate } from 'node:timers/promises'
import { lastValueFrom, tap } from 'rxjs'
import { type ConsumeRecord, PublishError, RxMikaError } from 'rxmika'
import { expect } from 'vitest'
import { Collected } from '../contract/collected'
import { numbered, type Run, texts } from '../contract/world'
import { coordinatorOf } from './coordinator-of'
import { describeOwnKafka } from './describe-kafka'
import { ownKafka } from './own-kafka'
import { portOpens } from './port-opens'

/** The maximum time until a client delivers again once the ports of all brokers are open, ms. */
const recovery = 5_000

describeOwnKafka('a client whose brokers die', () => {
  const kafka = ownKafka({ brokers: 3 })
  const { backend, scenario } = kafka
  const nodes = [1, 2, 3] as const

  const allDown = () => Promise.all(nodes.map(node => kafka.server.kill(node)))
  /** Starts all brokers. Resolves when the last of their ports is open, with the time of that. */
  const allUp = async () => {
    const restarted = Promise.all(nodes.map(node => kafka.server.restart(node)))
    await Promise.all(kafka.server.brokers.map(portOpens))
    return { opened: Date.now(), restarted }
  }
  const typesOf = ({ events }: Run) => events.values.map(({ type }) => type)

  scenario('delivers again within 5 s of the last port opening when all were killed (consumer)', async world => {
    const group = world.name('group')
    const topic = await world.topic('orders', 3)
    const run = world.client({ group, groupProtocol: 'consumer' })
    run.expected = [RxMikaError]
    const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
    run.client.start()
    const three = (from: number) => [0, 1, 2].flatMap(partition => numbered(from, from + 1, partition))
    await backend.publish(topic, three(0))
    await Promise.all([0, 1, 2].map(partition => run.committed(topic, partition, 1)))

    await allDown()
    await run.event('disconnected')
    // Records published during the outage are not lost either: they wait for the brokers.
    const published = lastValueFrom(
      run.client.publish(
        three(1).map(record => ({ topic, ...record })),
        { timeout: 60_000 },
      ),
    )
    const { opened, restarted } = await allUp()
    await seen.count(6)
    const delivered = Date.now() - opened
    await run.event('reconnected')
    console.info(`all killed: delivered ${delivered} ms after the last port opened`)
    expect(delivered).toBeLessThan(recovery)
    await Promise.all([restarted, published])
    await Promise.all([0, 1, 2].map(partition => run.committed(topic, partition, 2)))
    // One outage, reported once; no rebalance, and nothing delivered twice.
    expect(texts(seen).sort()).toEqual(['0', '0', '0', '1', '1', '1'])
    expect(typesOf(run).filter(type => type === 'disconnected' || type === 'reconnected')).toEqual([
      'disconnected',
      'reconnected',
    ])
    expect(typesOf(run)).not.toContain('lost')
  })

  scenario(
    'continues when its coordinator is killed: settled records are committed on another broker (consumer)',
    async world => {
      const group = world.name('group')
      const topic = await world.topic('orders', 3)
      await backend.publish(
        topic,
        [0, 1, 2].flatMap(partition => numbered(0, 10, partition)),
      )
      const run = world.client({ group, groupProtocol: 'consumer' })
      run.expected = [RxMikaError]
      const seen = new Collected(run.client.topic(topic))
      run.client.start()
      await seen.count(30)
      const coordinator = await coordinatorOf(kafka.server.brokers, group)
      await kafka.server.kill(coordinator)
      for (const record of seen.values) record.ack()
      await Promise.all([0, 1, 2].map(partition => run.committed(topic, partition, 10)))
      expect(await coordinatorOf(kafka.server.brokers, group)).not.toBe(coordinator)
      await lastValueFrom(
        run.client.publish(
          [0, 1, 2].map(partition => ({ topic, partition, value: '10' })),
          { timeout: 60_000 },
        ),
      )
      await seen.count(33)
      expect(seen.values).toHaveLength(33)
      expect(typesOf(run).filter(type => ['lost', 'revoked', 'restarted'].includes(type))).toEqual([])
      await kafka.server.restart(coordinator)
    },
  )

  scenario(
    'loses nothing when brokers are killed while copies are written, and commits no source before its copy',
    async world => {
      const group = world.name('group')
      const names = ['orders', 'retries', 'dlq'].map(name => world.topic(name, 3))
      const [topic, retryTopic, dlqTopic] = (await Promise.all(names)) as [string, string, string]
      const each = 400
      await backend.publish(
        topic,
        [0, 1, 2].flatMap(partition => numbered(0, each, partition)),
      )
      const run = world.client({ group, retryTopic, dlqTopic })
      run.expected = [PublishError, RxMikaError]
      // Every one fails twice: it is copied to the retry topic, and from there to the DLQ topic.
      const failed: ConsumeRecord[] = []
      const records = run.client.topic(topic, { retries: 1, dlq: true })
      const begun = new Collected(records.pipe(tap(record => failed.push(record))))
      run.client.start()
      await begun.count(3 * each)
      for (const record of [...failed]) record.fail(new Error('no'))
      // The brokers are killed while copies are written. Only records with a `retried` event may be committed.
      await run.event('retried')
      await allDown()
      const { restarted } = await allUp()
      await restarted
      let settled = 3 * each
      const goOn = begun.until(values => {
        for (; settled < values.length; settled++) values[settled]!.fail(new Error('no'))
        return false
      })
      goOn.catch(() => {})
      await Promise.all(
        [0, 1, 2].map(async partition => {
          await run.committed(topic, partition, each)
        }),
      )
      await until(async () => {
        const copies = await backend.records(retryTopic)
        const ends = [0, 1, 2].map(partition => copies.filter(copy => copy.partition === partition).length)
        const committed = await Promise.all(
          ends.map(
            async (end, partition) => Number((await backend.committed(group, retryTopic, partition)) ?? 0) === end,
          ),
        )
        return committed.every(Boolean)
      })
      const originals = [0, 1, 2].flatMap(partition => numbered(0, each, partition).map(({ value }) => value)).sort()
      const dead = texts(await backend.records(dlqTopic)).sort()
      const retried = texts(await backend.records(retryTopic)).sort()
      console.info(
        `${originals.length} records: ${retried.length} copies on the retry topic, ${dead.length} dead letters`,
      )
      expect([...new Set(dead)]).toEqual([...new Set(originals)])
      // Each record has at least one copy. There may be two if an acknowledgement was lost with its broker.
      for (const [copies, of] of [
        [retried, originals],
        [dead, originals],
      ] as const) {
        expect(copies.length).toBeGreaterThanOrEqual(of.length)
        expect(copies.length - of.length).toBeLessThan(each)
      }
      // No committed position was above a record that had no copy by then.
      const copied = new Map<number, Set<number>>([0, 1, 2].map(partition => [partition, new Set()]))
      const early: string[] = []
      for (const event of run.events.values) {
        if (event.type === 'retried' && event.topic === topic) copied.get(event.partition)!.add(Number(event.offset))
        if (event.type !== 'committed' || event.topic !== topic) continue
        for (let offset = 0; offset < event.offset; offset++) {
          if (!copied.get(event.partition)!.has(offset)) early.push(`${event.partition}@${offset}`)
        }
      }
      expect(early).toEqual([])
    },
  )
})

/** Polls the condition. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await setImmediate()
}
