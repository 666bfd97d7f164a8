import 'reflect-metadata'
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Test } from '@nestjs/testing'
import { filter, firstValueFrom } from 'rxjs'
import { createClient } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { KAFKA } from './kafka.module.js'
import { OrdersModule, Payments } from './orders.module.js'

it('charges an order again that was declined at first', async () => {
  const broker = memoryBroker()
  const client = createClient({
    driver: broker.driver(),
    group: 'orders-nest',
    retryTopic: 'orders-nest-retry',
    dlqTopic: 'orders-nest-dlq',
    logger: false,
  })
  const charged: string[] = []
  const payments = {
    async charge(order: string) {
      charged.push(order)
      if (charged.length === 1) throw new Error('declined')
    },
  }
  const module = await Test.createTestingModule({ imports: [OrdersModule] })
    .overrideProvider(KAFKA)
    .useValue(client)
    .overrideProvider(Payments)
    .useValue(payments)
    .compile()
  const app = await module.init()

  broker.publish('orders', [{ key: 'k', value: 'order 1' }])
  const committed = (topic: string) => broker.committed('orders-nest', topic, 0) === 1n
  await firstValueFrom(client.events.pipe(filter(() => committed('orders') && committed('orders-nest-retry'))))
  assert.deepEqual(charged, ['order 1', 'order 1'])
  assert.equal(broker.records('orders-nest-dlq').length, 0)
  await app.close()
  assert.equal(client.currentState, 'closed')
})
