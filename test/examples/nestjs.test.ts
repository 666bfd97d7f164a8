import { describe, expect, it } from 'vitest'
import { runTest } from './installed'
import { Running } from './running'

describe('the NestJS application', () => {
  const example = Running.of('nestjs')

  it('is tested with the memory broker', async () => {
    expect(await runTest(example.folder, 'src/orders.test.ts')).toMatch(/^# pass 1$/m)
  }, 120_000)

  it('charges, and closes by its shutdown hooks', async () => {
    await example.topics('orders', 'orders-nest-retry', 'orders-nest-dlq')
    const program = example.start()
    await program.printed(/^started/)
    await example.publish('orders', { key: 'k', value: 'order 1' })
    await program.printed(/charged order 1/)
    program.kill('SIGTERM')
    await program.exitCode()
    expect(program.output).toContain('closed: drained true, unsettled 0')
  }, 120_000)

  it('ends with code 1 after a fatal error', async () => {
    await example.topics('orders', 'orders-nest-retry', 'orders-nest-dlq')
    const program = example.start({ KAFKA_CONSUMER_START_FROM: 'committed' })
    program.expected = /fatal: |WARN/
    expect(await program.exitCode(), program.output).toBe(1)
    expect(program.stderr).toMatch(/fatal: .*committed/)
  }, 120_000)
})
