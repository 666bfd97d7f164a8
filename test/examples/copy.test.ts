import { describe, expect, it } from 'vitest'
import { Running } from './running'

describe('from one topic to another', () => {
  const example = Running.of('copy')

  it('writes one invoice for each order, in order', async () => {
    await example.topics('orders', 'orders-dlq', 'invoices')
    const program = example.start()
    await example.publish(
      'orders',
      { key: 'k', value: '{"id":"1","cents":100}' },
      { key: 'k', value: '{"id":"2","cents":200}' },
    )
    const expected = ['{"order":"1","total":119}', '{"order":"2","total":238}']
    await expect.poll(() => example.values('invoices'), { timeout: 30_000 }).toEqual(expected)
    program.kill('SIGTERM')
    expect(await program.exitCode()).toBe(0)
    expect(program.output).toContain('closed: drained true')
    expect(await example.values('invoices')).toEqual(expected)
  }, 120_000)
})
