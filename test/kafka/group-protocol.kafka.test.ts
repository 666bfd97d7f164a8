import { tap } from 'rxjs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { kafkaError } from '../../src/protocol/errors'
import { consumerGroupHeartbeat } from '../../src/protocol/messages/consumer-group-heartbeat'
import { Collected } from '../contract/collected'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, type Run, scenarios, type World } from '../contract/world'
import { consumerGroupState } from './consumer-group-state'
import { describeOwnKafka } from './describe-kafka'
import { type KafkaServer, startKafka } from './kafka-server'
import { RawConnection } from './protocol/raw-connection'

describeOwnKafka("groups with groupProtocol 'auto'", () => {
  let server: KafkaServer
  beforeAll(async () => {
    // A group of classic members stays classic.
    server = await startKafka({ config: { 'group.consumer.migration.policy': 'disabled' } })
  })
  afterAll(() => server?.stop())

  const backend = kafkaBackend(() => server.brokers)
  const scenario = scenarios(backend)
  beforeAll(() => backend.open())
  afterAll(() => backend.close())

  const member = (world: World, topic: string, groupProtocol: 'classic' | 'auto') => {
    const run = world.client({ group: world.name('group'), groupProtocol, heartbeatInterval: 200 })
    const records = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
    run.client.start()
    return { run, records }
  }
  const has = ({ events }: Run, count: number) =>
    events.until(() => {
      const partitions = new Set<number>()
      for (const event of events.values) {
        if (event.type === 'assigned') partitions.add(event.partition)
        if (event.type === 'revoked' || event.type === 'lost') partitions.delete(event.partition)
      }
      return partitions.size === count
    })

  scenario('use the consumer protocol if brokers support it, and otherwise the classic one', async world => {
    const topic = await world.topic('orders')
    await backend.publish(topic, numbered(0, 1))
    const { run, records } = member(world, topic, 'auto')
    await records.count(1)
    const isSpoken = Number(server.version.split('.')[0]) >= 4
    expect(await consumerGroupState(server.brokers, world.name('group'))).toBe(isSpoken ? 'Stable' : undefined)
    expect(await run.client.closeGracefully()).toMatchObject({ drained: true })
  })

  it('end with GROUP_ID_NOT_FOUND for a former member', async () => {
    const connection = await RawConnection.to(server.brokers[0]!)
    try {
      const request = { groupId: 'gone', memberId: 'member', memberEpoch: 5, rebalanceTimeoutMs: -1 }
      const version = connection.versionsOf(consumerGroupHeartbeat).at(-1)!
      const { errorCode: code } = await connection.ask(consumerGroupHeartbeat, request, version)
      const isSpoken = Number(server.version.split('.')[0]) >= 4
      expect(kafkaError(code).name).toBe(isSpoken ? 'GROUP_ID_NOT_FOUND' : 'UNSUPPORTED_VERSION')
    } finally {
      connection.end()
    }
  })

  scenario('keep existing classic members, and accept a new member in the same group', async world => {
    const topic = await world.topic('orders', 2)
    const first = member(world, topic, 'classic')
    await has(first.run, 2)
    const second = member(world, topic, 'auto')
    await Promise.all([has(first.run, 1), has(second.run, 1)])
    await backend.publish(
      topic,
      [0, 1].flatMap(partition => numbered(0, 1, partition)),
    )
    await Promise.all([first.records.count(1), second.records.count(1)])
    expect(await consumerGroupState(server.brokers, world.name('group'))).toBeUndefined()
    for (const { run } of [second, first]) expect(await run.client.closeGracefully()).toMatchObject({ drained: true })
  })
})
