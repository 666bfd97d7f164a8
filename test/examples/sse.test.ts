import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { Running } from './running'

describe('server-sent events', () => {
  const example = Running.of('sse')

  it('disconnects a browser that does not read, and sends everything to the others', async () => {
    await example.topics('prices')
    const program = example.start({ MAX_BUFFERED: '1000000' })
    await program.printed(/^listening on/)
    await program.printed(/^a partition is assigned/)
    const url = `http://127.0.0.1:${/listening on (\d+)/.exec(program.output)![1]}/prices`
    const open = async () => ((await once(get(url), 'response')) as [IncomingMessage])[0]
    const [quick, slow] = await Promise.all([open(), open()])
    let received = ''
    quick.setEncoding('utf8').on('data', text => {
      received += text
    })
    slow.pause()
    const cutOff = once(slow.socket, 'close')
    slow.on('error', () => {})
    // More than the sockets' buffers hold, sent in several turns so that the quick browser keeps up.
    const large = 'x'.repeat(100_000)
    const count = 150
    for (let n = 0; n < count; n++) {
      await example.publish('prices', { value: `${n} ${large}` })
      await expect.poll(() => received.includes(`data: ${n} ${large}\n\n`), { timeout: 30_000 }).toBe(true)
    }
    await program.printed(/^a slow browser is disconnected/)
    slow.resume()
    await cutOff
    expect(received.match(/^data: \d+/gm)).toEqual(Array.from({ length: count }, (_, n) => `data: ${n}`))
    program.kill('SIGTERM')
    expect(await program.exitCode()).toBe(0)
  }, 120_000)
})
