import { Type } from 'avsc'
import { describe, expect, it } from 'vitest'
import { orderSchema, SchemaRegistry } from '../kafka/schema-registry'
import { Running } from './running'

describe('typed topics', () => {
  const example = Running.of('schemas')

  it('handle valid records, dead-letter invalid ones, and retry while the registry is away', async () => {
    await example.topics('orders', 'payments', 'accounting-retry', 'accounting-dlq')
    const registry = new SchemaRegistry()
    const schema = {
      ...orderSchema,
      name: 'Payment',
      fields: [
        { name: 'order', type: 'string' },
        { name: 'cents', type: 'int' },
      ],
    }
    registry.schemas.set(7, schema)
    await registry.start()
    const { url } = registry
    await registry.stop()

    const program = example.start({ SCHEMA_REGISTRY: url })
    const avro = Buffer.concat([
      Buffer.from([0, 0, 0, 0, 7]),
      Type.forSchema(schema as never).toBuffer({ order: '1', cents: 5 }),
    ])
    await example.publish('payments', { key: 'k', value: avro })
    await example.publish(
      'orders',
      { key: 'k', value: '{"id":"1","cents":5}' },
      { key: 'k', value: '{"id":"2","cents":-5}' },
    )
    await program.printed(/^order 1: 5/)
    await program.printed(/^dead letter of orders: DecodeError/)
    await program.printed(/^retried: /)
    await registry.start()
    await program.printed(/^payment for 1: 5/)
    await registry.stop()
    program.kill('SIGTERM')
    expect(await program.exitCode()).toBe(0)
    expect(await example.values('accounting-dlq')).toEqual(['{"id":"2","cents":-5}'])
  }, 120_000)
})
