import { describe, expect, it, vi } from 'vitest'
import type { Asked } from '../../fake-broker/asked'
import { brokers, Reading } from '../../fake-broker/reading'

const isLook = ({ name, request }: Asked) => name === 'Metadata' && request.topics?.length > 0

/** Broker 1 led the partition before, and broker 0 leads it now, in the next epoch. */
async function reading(test: Parameters<typeof brokers>[0], group: object) {
  const kafka = await brokers(test, 2)
  kafka.create('orders', 1)
  const log = kafka.log('orders')
  log.append('a')
  const before = kafka.view
  log.leader = 0
  log.newEpoch()
  log.append('b')
  const reading = await Reading.start(test, kafka, ['orders'], { metadataMaxAge: 50, ...group })
  await reading.until(() => reading.has('a', 'b'))
  return { kafka, log, reading, before }
}

describe.concurrent('a broker that led a partition before', () => {
  for (const group of [{ groupProtocol: 'classic' }, { groupProtocol: 'consumer' }, { group: undefined }]) {
    it(`and has not heard that it does not lead it any more is not read from (${JSON.stringify(group)})`, async test => {
      const { kafka, log, reading: read, before } = await reading(test, group)
      // It cannot reach the controller: it goes on as the leader of the epoch before, with what it had.
      kafka.shows(1, before)
      const asItsLeader = (each: { partitions: object[] }, answer: object) => {
        return { ...each, partitions: each.partitions.map(partition => ({ ...partition, errorCode: 0, ...answer })) }
      }
      kafka.on('Fetch', ({ node, request }) => {
        const { fetchOffset } = request.topics[0].partitions[0]
        const divergingEpoch = fetchOffset > 1 ? { epoch: 0, endOffset: 1 } : null
        const change = (answer: { responses: [] }) => {
          return { ...answer, responses: answer.responses.map(each => asItsLeader(each, { divergingEpoch })) }
        }
        return node === 1 ? { change } : undefined
      })
      kafka.on('ListOffsets', ({ node }) => {
        const change = (answer: { topics: [] }) => {
          return { ...answer, topics: answer.topics.map(each => asItsLeader(each, { offset: 0, leaderEpoch: 0 })) }
        }
        return node === 1 ? { change } : undefined
      })
      const looks = () => kafka.asked.filter(asked => isLook(asked) && asked.node === 1).length
      const earlier = looks()
      await vi.waitUntil(() => looks() > earlier + 3, 10_000)
      kafka.shows(1, undefined)
      log.append('c')
      await read.until(() => read.has('c'))
      expect(read.records).toEqual(['orders-0@0 a', 'orders-0@1 b', 'orders-0@2 c'])
      expect(read.troubles).toEqual([])
    })
  }

  it('leads it again if all brokers say so, as in a cluster restored from a backup', async test => {
    const { kafka, log, reading: read, before } = await reading(test, { group: undefined })
    log.leader = 1
    kafka.shows(0, before)
    kafka.shows(1, before)
    log.append('c')
    await read.until(() => read.has('c'))
    expect(read.records).toEqual(['orders-0@0 a', 'orders-0@1 b', 'orders-0@2 c'])
  })
})
