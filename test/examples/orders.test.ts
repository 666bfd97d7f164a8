import { describe, expect, it } from 'vitest'
import { Running } from './running'

describe('the order service', () => {
  const example = Running.of('orders')

  it('retries, dead-letters, answers probes, counts, and ends by SIGTERM with everything committed', async () => {
    await example.topics('orders', 'orders-retry', 'orders-dlq')
    const program = example.start()
    program.expected = /./ // the client's own log goes to stdout; nothing else is expected
    await program.printed(/^listening on/)
    const port = /listening on (\d+)/.exec(program.output)![1]
    await example.publish(
      'orders',
      { key: 'a', value: '{"id":"now","cents":5}' },
      { key: 'b', value: '{"id":"later","cents":7}' },
      { key: 'c', value: '{"id":"wrong","cents":-1}' },
    )
    await program.printed(/^charged now: 5, attempt 1/)
    await program.printed(/^charged later: 7, attempt 2/)
    await program.printed(/^dead letter: orders-0@2: Error: order wrong: the amount is negative/)
    expect((await fetch(`http://127.0.0.1:${port}/ready`)).status).toBe(200)
    expect((await fetch(`http://127.0.0.1:${port}/live`)).status).toBe(200)
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    expect(metrics).toContain('rxmika_records_total{topic="orders",outcome="deadLettered"} 1')
    expect(metrics).toMatch(/^rxmika_lag\{topic="orders",partition="0"\} \d+$/m)
    program.kill('SIGTERM')
    expect(await program.exitCode()).toBe(0)
    expect(program.output).toContain('closed: drained true, unsettled 0')
    expect(await example.values('orders-dlq')).toEqual(['{"id":"wrong","cents":-1}'])
  }, 120_000)
})
