import { expect, it } from 'vitest'
import { systemClock } from '../../../src/clock.js'
import type { Cluster } from '../../../src/drivers/kafka/cluster/cluster.js'
import { TransactionalProducer } from '../../../src/drivers/kafka/transactions/transactional-producer.js'

/** Answers the requests of a transaction. Of its two partitions, 0 is short of replicas for a while, and 1 may not be written to. */
function fakeCluster(asked: string[]) {
  const answers: Readonly<Record<string, (request: never) => unknown>> = {
    InitProducerId: () => ({ errorCode: 0, producerId: 7n, producerEpoch: 0 }),
    AddPartitionsToTxn: () => ({ resultsByTopicV3AndBelow: [] }),
    EndTxn: () => ({ errorCode: 0 }),
    Produce: ({ topicData: [topic] }: { topicData: { partitionData: { index: number }[] }[] }) => {
      const { index } = topic!.partitionData[0]!
      asked[asked.length - 1] = `Produce ${index}`
      const attempts = asked.filter(name => name === 'Produce 0').length
      const errorCode = index === 1 ? 29 : attempts > 2 ? 0 : 19
      return { responses: [{ partitionResponses: [{ index, errorCode }] }] }
    },
  }
  return {
    clock: systemClock,
    ended: new AbortController().signal,
    coordinator: async () => 0,
    forgetCoordinator: () => {},
    learn: async () => new Map([['t', { partitions: [{ leader: 0 }, { leader: 0 }] }]]),
    ask: async (_node: number, _lane: string, { name }: { readonly name: string }, request: never) => {
      asked.push(name)
      return answers[name]!(request)
    },
  } as unknown as Cluster
}

it('a transaction is aborted once none of its records can be written any more', async () => {
  const asked: string[] = []
  const producer = await TransactionalProducer.open(fakeCluster(asked), 'redrive')
  const records = [{ key: null, value: Buffer.from('a'), headers: [], timestamp: 0 }]
  const written = [0, 1].map(partition => ({ topic: 't', partition, records }))
  await expect(producer.write(written)).rejects.toThrow('TOPIC_AUTHORIZATION_FAILED')
  await new Promise(resolve => setTimeout(resolve, 500))
  expect(asked.at(-1)).toBe('EndTxn')
  expect(asked.filter(name => name === 'Produce 0')).toHaveLength(3)
})
