import type { CloseReport } from 'rxmika'
import { expect } from 'vitest'
import { numbered, type World } from '../contract/world'
import { Example } from '../docs/run-example'
import { type ClientCommand, ClientProcess, type ClientTask } from './client-process'
import { createTopic } from './create-topic'
import { describeOwnKafka } from './describe-kafka'
import { freePorts } from './free-ports'
import { ownKafka } from './own-kafka'

/** The maximum time of a close beyond the time-out of its caller, ms. */
const longestClose = 6_000
/** The maximum time from the end of a time-out to the end of the process, ms: nothing keeps the event loop alive. */
const afterTimeout = 2_000
/** The maximum time from the end of the client to the end of its process, ms. */
const linger = 1_000

describeOwnKafka('a process whose client closes', () => {
  const kafka = ownKafka()
  const { backend, scenario } = kafka

  async function working(
    world: World,
    task: Partial<ClientTask> & Pick<ClientTask, 'acks'>,
    options: Partial<ClientTask['options']> = {},
  ): Promise<ClientProcess> {
    const topic = await world.topic('orders')
    await backend.publish(topic, numbered(0, 4))
    const client = new ClientProcess({
      ...{ topic, options: { brokers: kafka.server.brokers, group: world.name('group'), ...options } },
      ...task,
    })
    await client.delivered(4)
    return client
  }

  /** Expects that the client closes in time, and that its process ends by itself soon after. */
  async function endsByItself(client: ClientProcess, since: number, within: number) {
    await client.messages.until(() => client.all('closed').length > 0)
    const closed = Date.now()
    expect(await client.exited).toEqual({ code: 0, signal: null })
    const exited = Date.now()
    console.info(`closed after ${closed - since} ms, ended ${exited - closed} ms later`)
    expect(closed - since).toBeLessThan(within)
    expect(exited - closed).toBeLessThan(linger)
    return client.all('closed')[0]!.report
  }

  scenario('ends by itself, closed gracefully, with everything committed', async world => {
    const client = await working(world, { acks: 'none' })
    const since = Date.now()
    client.send({ do: 'closeGracefully', timeout: 600_000 })
    for (const offset of [2, 3, 0, 1]) client.send({ do: 'ack', partition: 0, offset })
    expect(await endsByItself(client, since, 5_000)).toEqual({ drained: true, unsettled: 0, left: [] })
    expect(await backend.committed(world.name('group'), world.name('orders'), 0)).toBe(4n)
  })

  scenario('ends by itself while its handlers are stuck', async world => {
    const client = await working(world, { acks: 'none' })
    client.send({ do: 'ack', partition: 0, offset: 0 })
    const since = Date.now()
    client.send({ do: 'closeGracefully', timeout: 500 })
    expect(await endsByItself(client, since, 5_000)).toMatchObject({ drained: false, unsettled: 3 })
    expect(await backend.committed(world.name('group'), world.name('orders'), 0)).toBe(1n)
    expect(client.all('aborted')).not.toEqual([])
  })

  scenario('ends by itself, closed twice', async world => {
    const client = await working(world, { acks: 'none' })
    const since = Date.now()
    client.send({ do: 'closeGracefully', timeout: 600_000 })
    client.send({ do: 'closeGracefully', timeout: 600_000 })
    client.send({ do: 'close' })
    client.send({ do: 'close' })
    expect(await endsByItself(client, since, 5_000)).toMatchObject({ drained: false, unsettled: 4 })
    expect(client.all('closed')).toHaveLength(1)
  })

  scenario('ends by itself, closed by its abort signal, and prints the reason', async world => {
    const client = await working(world, { acks: 'none' })
    const since = Date.now()
    client.send({ do: 'ack', partition: 0, offset: 0 })
    client.send({ do: 'abort' })
    expect(await endsByItself(client, since, 5_000)).toMatchObject({ drained: false, unsettled: 3 })
    expect(client.all('error')).toEqual([{ type: 'error', name: 'ClientClosedError' }])
    expect(await backend.committed(world.name('group'), world.name('orders'), 0)).toBe(1n)
  })

  scenario('ends by itself, closed while the group waits for another member to revoke partitions', async world => {
    const staying = await working(world, { acks: 'none' }, { rebalanceTimeout: 60_000 })
    const group = world.name('group')
    const joining = new ClientProcess({
      ...{ topic: world.name('orders'), acks: 'none', options: { brokers: kafka.server.brokers, group } },
    })
    await backend.rebalancing(group)
    const since = Date.now()
    joining.send({ do: 'close' })
    expect(await endsByItself(joining, since, 5_000)).toEqual({ drained: true, unsettled: 0, left: [] })

    // The other client closes too.
    const later = Date.now()
    staying.send({ do: 'close' })
    expect(await endsByItself(staying, later, 5_000)).toMatchObject({ drained: false, unsettled: 4 })
  })

  scenario('ends by itself, closed before it could connect to any broker', async () => {
    const [port] = await freePorts(1)
    for (const action of ['close', 'abort'] as const) {
      const client = new ClientProcess({
        ...{ topic: 'none', acks: 'none', options: { brokers: [`127.0.0.1:${port}`], group: 'none' } },
      })
      await client.event('disconnected')
      const since = Date.now()
      client.send({ do: action })
      const error = { code: 'RXMIKA_CLIENT_CLOSED' }
      const report = action === 'abort' ? { drained: false, error } : { drained: true }
      expect(await endsByItself(client, since, longestClose)).toMatchObject({ ...report, unsettled: 0, left: [] })
    }
  })

  scenario('ends by itself when it is the example program, stopped by SIGTERM', async () => {
    await createTopic({ brokers: kafka.server.brokers }, { topic: 'orders', numPartitions: 3 })
    const orders = Array.from({ length: 6 }, (_, at) => ({ value: `order ${at}`, partition: at % 3 }))
    await backend.publish('orders', orders)
    const env = { KAFKA_BROKERS: kafka.server.brokers[0]! }
    const stopped = new Example('graceful-shutdown', { ...env, WORK_MS: '60000', CLOSE_TIMEOUT_MS: '300' })
    await stopped.printed(/^charging/, 6)
    stopped.kill('SIGTERM')
    expect(await stopped.exitCode(), stopped.output).toBe(1)
    expect(stopped.output).toMatch(/^closed, drained: false, unsettled: 6$/m)

    const again = new Example('graceful-shutdown', { ...env, WORK_MS: '500' })
    await again.printed(/^charging/, 6)
    again.kill('SIGTERM')
    expect(await again.exitCode(), again.output).toBe(0)
    expect(again.output).toMatch(/^closed, drained: true, unsettled: 0$/m)
    for (const partition of [0, 1, 2]) expect(await backend.committed('billing', 'orders', partition)).toBe(2n)
  })

  scenario('ends by itself within 2 s of its time-out while its broker hangs', async world => {
    const client = await working(world, { acks: 'none' })
    client.send({ do: 'ack', partition: 0, offset: 0 })
    await kafka.server.pause(1)
    try {
      const since = Date.now()
      client.send({ do: 'closeGracefully', timeout: 1_000 })
      await client.exited
      expect(Date.now() - since).toBeLessThan(1_000 + afterTimeout)
      expect(client.all('closed')).toMatchObject([{ report: { drained: false, unsettled: 3 } }])
    } finally {
      kafka.server.resume(1)
    }
  })

  // The last test, because it kills all brokers.
  scenario(
    'ends by itself when its brokers were killed, however it is closed, and reports unsettled records',
    async world => {
      const settledByHand = async (name: string) => {
        const topic = await world.topic(name)
        await backend.publish(topic, numbered(0, 4))
        const options = { brokers: kafka.server.brokers, group: world.name(name) }
        const client = new ClientProcess({ topic, acks: 'none', options })
        await client.delivered(4)
        return client
      }
      // Completed records cannot be committed any more, and will be delivered again.
      const ends: { command: ClientCommand; acked: number[]; report: Partial<CloseReport> }[] = [
        { command: { do: 'close' }, acked: [0], report: { drained: false, unsettled: 3 } },
        { command: { do: 'closeGracefully', timeout: 1_000 }, acked: [0, 2], report: { drained: false, unsettled: 2 } },
        {
          ...{ command: { do: 'closeGracefully', timeout: 600_000 }, acked: [0, 1, 2, 3] },
          report: { drained: false, unsettled: 0 },
        },
        { command: { do: 'abort' }, acked: [], report: { drained: false, unsettled: 4 } },
      ]
      const clients = await Promise.all(ends.map((_, at) => settledByHand(`orders-${at}`)))
      const unsuspecting = await settledByHand('unsuspecting')
      await backend.publish('orders', [{ value: 'order 6', partition: 0 }])
      const env = { KAFKA_BROKERS: kafka.server.brokers[0]!, WORK_MS: '60000', CLOSE_TIMEOUT_MS: '300' }
      const example = new Example('graceful-shutdown', env)
      await example.printed(/^charging/)

      // The program prints the report of its client.
      example.expected = /^(Connection|Commit)Error: /
      await kafka.server.kill(1)
      const killed = Date.now()
      // Before the client can notice that the brokers are away.
      unsuspecting.send({ do: 'ack', partition: 0, offset: 0 })
      unsuspecting.send({ do: 'close' })
      example.kill('SIGTERM')
      await Promise.all([
        endsByItself(unsuspecting, killed, longestClose).then(report => {
          expect(report).toMatchObject({ drained: false, unsettled: 3 })
        }),
        ...clients.map(async (client, at) => {
          const { command, acked, report } = ends[at]!
          await client.event('disconnected')
          for (const offset of acked) client.send({ do: 'ack', partition: 0, offset })
          const since = Date.now()
          client.send(command)
          expect(await endsByItself(client, since, longestClose)).toMatchObject(report)
          const { timeout = 600_000 } = command as { readonly timeout?: number }
          expect(Date.now() - since).toBeLessThan(timeout + afterTimeout)
          expect(client.all('event').some(({ event }) => event === 'committed')).toBe(false)
        }),
      ])
      expect(await example.exitCode(), example.output).toBe(1)
      expect(example.output).toMatch(/^closed, drained: false, unsettled: 1$/m)
    },
  )
})
