import { once } from 'node:events'
import { connect, createServer, type Server } from 'node:net'
import { lastValueFrom } from 'rxjs'
import { CommitError, ConnectionError } from 'rxmika'
import { afterAll, expect } from 'vitest'
import { Collected } from '../contract/collected'
import { numbered, texts } from '../contract/world'
import { describeOwnKafka } from './describe-kafka'
import { freePorts } from './free-ports'
import { ownKafka } from './own-kafka'

describeOwnKafka('a client of brokers with IPv6 addresses', () => {
  let relay: Server | undefined
  const kafka = ownKafka({
    // The advertised address is one that kafkajs cannot connect to, so the suite bypasses it.
    unreachable: true,
    advertise: async address => {
      const [host, port] = address.split(':')
      const [own] = await freePorts(1)
      relay = createServer(client => {
        const broker = connect({ host: host!, port: Number(port) })
        for (const socket of [client, broker]) socket.on('error', () => {}).on('close', () => broker.destroy())
        client.pipe(broker).pipe(client)
      }).listen(own, '::1')
      await once(relay, 'listening')
      return `[::1]:${own}`
    },
  })
  afterAll(() => relay?.close())

  kafka.scenario('publishes records and reads them', async world => {
    const [broker] = kafka.server.brokers
    expect(broker).toMatch(/^\[::1]:\d+$/)
    const topic = await world.topic('orders')
    const run = world.client({ brokers: [broker!], group: world.name('group') })
    const seen = new Collected(run.client.topic(topic))
    await run.start()
    await lastValueFrom(run.client.publish({ topic, value: 'by IPv6' }))
    await seen.count(1)
    expect(texts(seen)).toEqual(['by IPv6'])
    seen.values[0]!.ack()
    await run.committed(topic, 0, 1)
  })
})

const patience = 3_000

describeOwnKafka('a client whose broker hangs', () => {
  const kafka = ownKafka()
  afterAll(() => kafka.server?.resume(1))

  for (const groupProtocol of ['classic', 'consumer'] as const) {
    kafka.scenario(`is closed within 2 s of its time-out (${groupProtocol})`, async world => {
      const topic = await world.topic('orders')
      await kafka.backend.publish(topic, numbered(0, 4))
      const run = world.client({ group: world.name('group'), groupProtocol })
      run.expected = [ConnectionError, CommitError]
      const seen = new Collected(run.client.topic(topic))
      await run.start()
      await seen.count(4)
      await kafka.server.pause(1)
      try {
        seen.values[0]!.ack()
        const since = performance.now()
        const report = await run.client.closeGracefully({ timeout: patience })
        const took = performance.now() - since
        console.info(`closed after ${Math.round(took)} ms`)
        expect(took).toBeLessThan(patience + 2_000)
        expect(report).toMatchObject({ drained: false, unsettled: 3 })
      } finally {
        kafka.server.resume(1)
      }
    })
  }
})
