import { expect, it } from 'vitest'
import { errorCode } from '../../../src/protocol/errors'
import { brokers, Reading } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

type Answer = { responses: { partitions: { partitionIndex: number }[] }[] }

const changing = (part: object) => ({
  change: (answer: Answer) => ({
    ...answer,
    responses: answer.responses.map(topic => ({
      ...topic,
      partitions: topic.partitions.map(each => (each.partitionIndex === 0 ? { ...each, ...part } : each)),
    })),
  }),
})

it.each(['OFFSET_OUT_OF_RANGE', 'UNKNOWN_SERVER_ERROR'] as const)(
  'is read from its leader again, although the leader leads nothing else, when its follower answers %s',
  async name => {
    await using test = new Scope()
    const kafka = await brokers(test, 2)
    kafka.create('orders', 0, 1)
    kafka.log('orders').append('a')
    let follows = true
    kafka.on('Fetch', ({ node }) => {
      // The follower also leads another partition, so it goes on being fetched from.
      if (node === 1) return changing({ errorCode: errorCode[name], records: Buffer.alloc(0) })
      if (!follows) return undefined
      follows = false
      return changing({ preferredReadReplica: 1, records: Buffer.alloc(0) })
    })
    const reading = await Reading.start(test, kafka, ['orders'], { rack: 'here', metadataMaxAge: 3_600_000 })
    await reading.until(() => reading.has('a'))
    expect(reading.records).toEqual(['orders-0@0 a'])
  },
)
