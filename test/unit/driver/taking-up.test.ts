import { createClient } from 'rxmika'
import { describe, expect, it, vi } from 'vitest'
import { unsealIdentity } from '../../../src/drivers/kafka/positions/log-identity'
import { brokers, Reading } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

const protocols = ['classic', 'consumer'] as const
/** The requests of taking up a partition, one of which is answered late, with the start position of the case. */
const moments = [
  { request: 'OffsetFetch', startFrom: 'earliest' },
  { request: 'ListOffsets', startFrom: 'latest' },
  { request: 'OffsetCommit', startFrom: 'latest' },
] as const

describe('a topic that is created again while its start position is looked up', () => {
  it.each(protocols.flatMap(groupProtocol => moments.map(moment => ({ groupProtocol, ...moment }))))(
    'is read from its beginning if $request is answered late, from $startFrom, with the $groupProtocol protocol',
    async ({ groupProtocol, request, startFrom }) => {
      await using test = new Scope()
      // The client asks the first address first, so metadata come from another broker than the late answer.
      const random = vi.spyOn(Math, 'random').mockReturnValue(0)
      test.onTestFinished(() => random.mockRestore())
      const kafka = await brokers(test, 2)
      kafka.coordinator = 1
      kafka.create('orders', 1)
      kafka.log('orders').append('old0', 'old1')
      let answer = () => {}
      const until = new Promise<void>(resolve => {
        answer = resolve
      })
      kafka.next(request, { until })
      const reading = await Reading.start(test, kafka, ['orders'], { groupProtocol, startFrom, metadataMaxAge: 50 })
      await vi.waitUntil(() => kafka.asked.some(({ name }) => name === request), 5_000)
      // The late answer is about the former log. It arrives when the client knows the present one.
      const { id } = kafka.create('orders', 1)
      kafka.log('orders').append('a', 'b', 'c', 'd')
      const asked = kafka.count('Metadata')
      await vi.waitUntil(() => kafka.count('Metadata') > asked + 1, 5_000)
      answer()
      await reading.until(() => reading.has('d'))
      expect(reading.records).toEqual(['orders-0@0 a', 'orders-0@1 b', 'orders-0@2 c', 'orders-0@3 d'])
      await reading.commit('orders-0', 4)
      const { metadata } = kafka.committed.get('orders-0')!
      expect(unsealIdentity(metadata!).identity.topicId).toBe(id)
    },
  )
})

it("says what to do if startFrom is 'committed' and the group has no position, and names ten partitions of many", async test => {
  const kafka = await brokers(test)
  kafka.create('orders', 0)
  kafka.create('refunds', ...new Array<number>(25).fill(0))
  const close = async (topic: string) => {
    const client = createClient({ brokers: kafka.addresses, group: 'billing', startFrom: 'committed', logger: false })
    client.topic(topic).subscribe({ error: () => {} })
    client.start()
    const { error } = await client.closed
    return error?.message
  }
  const remedy = "; commit positions by Kafka's tools, or start with 'earliest' or 'latest' once"
  const what = "startFrom is 'committed', and group 'billing' has committed no position for"
  expect(await close('orders')).toBe(`${what} orders-0${remedy}`)
  const ten = Array.from({ length: 10 }, (_, partition) => `refunds-${partition}`).join(', ')
  expect(await close('refunds')).toBe(`${what} ${ten}, and 15 more${remedy}`)
})
