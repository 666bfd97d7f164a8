import { pino } from 'pino'
import { lastValueFrom } from 'rxjs'
import { createClient, PublishError } from 'rxmika'
import { expect, it } from 'vitest'
import { systemClock } from '../../../src/clock.js'
import { Transport } from '../../../src/drivers/kafka/transport/transport.js'
import { heartbeat } from '../../../src/protocol/messages/heartbeat.js'
import { brokers } from '../../fake-broker/reading.js'

it('any number of requests may wait for a throttled broker, without a warning of Node’s', async test => {
  const kafka = await brokers(test)
  const { port } = kafka.brokers[0]!
  const ignore = () => {}
  const transport = new Transport(
    { clientId: 'c', clock: systemClock, logger: pino({ enabled: false }) },
    { answered: ignore, connecting: ignore, connected: ignore, silent: ignore, abandoned: ignore, failed: ignore },
  )
  test.onTestFinished(() => transport.close())
  const request = { groupId: 'billing', generationId: 1, memberId: 'm' }
  const ask = () => transport.send({ host: '127.0.0.1', port }, 'write', heartbeat, request, { timeout: 1_000 })
  kafka.next('Heartbeat', { change: answer => ({ ...answer, throttleTimeMs: 100 }) })
  await ask()
  // A warning of Node's fails every test.
  expect(await Promise.all(Array.from({ length: 20 }, ask))).toHaveLength(20)
})

it('any number of topics may be awaited, without a warning of Node’s', async test => {
  const kafka = await brokers(test)
  const client = createClient({ brokers: kafka.addresses, env: {}, logger: false })
  test.onTestFinished(async () => void (await client.close()))
  const topics = Array.from({ length: 20 }, (_, at) => `missing-${at}`)
  const refused = topics.map(topic =>
    lastValueFrom(client.publish({ topic, value: 'a' }, { timeout: 500 })).catch(error => error),
  )
  expect(await Promise.all(refused)).toEqual(topics.map(() => expect.any(PublishError)))
})
