import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { pino } from 'pino'
import { lastValueFrom } from 'rxjs'
import { expect, it, type TestContext } from 'vitest'
import { KafkaDriver } from '../../../src/drivers/kafka/driver'
import { apiVersions } from '../../../src/protocol/messages/api-versions'
import { encodeResponseFrame } from '../../../src/protocol/messages/headers'
import { metadata } from '../../../src/protocol/messages/metadata'
import { Writer } from '../../../src/protocol/wire/writer'

const api = { metadata: 3, apiVersions: 18, handshake: 17, authenticate: 36 } as const

/** A broker that wants a login by PLAIN, and answers nothing else before it. Its messages are those of kafkajs, and so made by hand. */
async function broker({ onTestFinished }: TestContext, password: string, refusal = 0): Promise<string> {
  const server = createServer(socket => {
    let loggedIn = false
    socket.on('error', () => {})
    socket.on('data', frame => {
      const [key, version, correlationId] = [frame.readInt16BE(4), frame.readInt16BE(6), frame.readInt32BE(8)]
      const { port } = server.address() as AddressInfo
      if (key === api.apiVersions) {
        const { min, max } = metadata.versions
        const served = [
          ...[api.handshake, api.authenticate].map(apiKey => ({ apiKey, minVersion: 0, maxVersion: 1 })),
          { apiKey: api.metadata, minVersion: min, maxVersion: max },
        ]
        const body = apiVersions.encodeResponse({ errorCode: 0, apiKeys: served }, version)
        socket.write(encodeResponseFrame(apiVersions, version, correlationId, body))
      } else if (key === api.handshake) socket.write(answer(correlationId, handshaken(refusal)))
      else if (key === api.authenticate) {
        loggedIn = frame.includes(`\0service\0${password}`)
        socket.write(answer(correlationId, authenticated(loggedIn, version)))
      } else if (loggedIn) {
        const brokers = [{ nodeId: 0, host: '127.0.0.1', port }]
        const body = metadata.encodeResponse({ brokers, topics: [] }, version)
        socket.write(encodeResponseFrame(metadata, version, correlationId, body))
      } else socket.destroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

function answer(correlationId: number, body: Buffer): Buffer {
  return encodeResponseFrame(plain, 0, correlationId, body)
}

const plain = { hasFlexibleResponseHeader: () => false } as never

function handshaken(code: number): Buffer {
  const writer = new Writer()
  writer.int16(code)
  writer.int32(1)
  writer.nullableString('PLAIN')
  return writer.toBuffer()
}

function authenticated(isRight: boolean, version: number): Buffer {
  const writer = new Writer()
  writer.int16(isRight ? 0 : 58)
  writer.nullableString(isRight ? null : 'no such user, or another password')
  writer.int32(0)
  const body = writer.toBuffer()
  return version === 0 ? body : Buffer.concat([body, Buffer.alloc(8)])
}

async function connect(test: TestContext, password: string, refusal = 0): Promise<unknown> {
  const sasl = { mechanism: 'plain', username: 'service', password } as const
  const driver = new KafkaDriver({ brokers: [await broker(test, 'right', refusal)], sasl })
  test.onTestFinished(async () => void (await lastValueFrom(driver.close(), { defaultValue: undefined })))
  const context = { clientId: 'c', logger: pino({ enabled: false }) }
  return lastValueFrom(driver.connect(context), { defaultValue: 'connected' })
}

it('logs in by a mechanism of kafkajs over a connection of this library', async test => {
  expect(await connect(test, 'right')).toBe('connected')
})

it('reports why a login is refused, and does not retry', async test => {
  const message = expect.stringMatching(/the login is refused: .*no such user, or another password/)
  await expect(connect(test, 'wrong')).rejects.toMatchObject({ code: 'RXMIKA_CONNECTION', message })
})

it('reports that the port has no SASL, and does not retry', async test => {
  const message = expect.stringContaining('the login is refused: this port of the broker has no SASL')
  await expect(connect(test, 'right', 34)).rejects.toMatchObject({ code: 'RXMIKA_CONNECTION', message })
})
