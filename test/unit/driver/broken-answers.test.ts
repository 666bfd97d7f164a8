import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { systemClock } from '../../../src/clock.js'
import { UnansweredError } from '../../../src/drivers/kafka/transport/failures.js'
import { Transport } from '../../../src/drivers/kafka/transport/transport.js'
import { heartbeat } from '../../../src/protocol/messages/heartbeat.js'
import { brokers } from '../../fake-broker/reading.js'

it('a request whose answer is no Kafka may have been done: it is unanswered, and not refused', async test => {
  const kafka = await brokers(test)
  const clients: Socket[] = []
  // A proxy before the broker, which answers by itself when something is wrong behind it.
  const proxy = createServer(client => {
    clients.push(client)
    const broker = connect(kafka.brokers[0]!.port, '127.0.0.1')
    client.pipe(broker).pipe(client)
    for (const socket of [client, broker]) socket.on('error', () => {})
    client.on('close', () => broker.destroy())
  })
  await once(proxy.listen(0, '127.0.0.1'), 'listening')
  test.onTestFinished(() => void proxy.close())
  const ignore = () => {}
  const transport = new Transport(
    { clientId: 'c', clock: systemClock, logger: pino({ enabled: false }) },
    { answered: ignore, connecting: ignore, connected: ignore, silent: ignore, abandoned: ignore, failed: ignore },
  )
  test.onTestFinished(() => transport.close())
  const address = { host: '127.0.0.1', port: (proxy.address() as AddressInfo).port }
  const request = { groupId: 'billing', generationId: 1, memberId: 'm' }
  const ask = () => transport.send(address, 'write', heartbeat, request, { timeout: 5_000 })
  await ask()
  kafka.next('Heartbeat', { ending: 'silence' })
  const asked = ask().catch((error: unknown) => error)
  await expect.poll(() => kafka.count('Heartbeat')).toBe(2)
  clients[0]!.write('HTTP/1.1 502 Bad Gateway\r\n\r\n')
  const error = await asked
  expect(error).toBeInstanceOf(UnansweredError)
  expect(error).toMatchObject({ sent: true })
})
