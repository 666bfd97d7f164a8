import { afterAll, beforeAll, describe } from 'vitest'
import { describeOwnKafka } from '../kafka/describe-kafka'
import { groupProtocols, hasConsumerProtocol } from '../kafka/group-protocols'
import { type KafkaServer, startKafka } from '../kafka/kafka-server'
import { kafkaBackend } from './kafka-backend'
import { topicsThatComeAndGo } from './suites/many-topics'
import { missingTopics } from './suites/starting'

describeOwnKafka('on a Kafka that creates no topics', () => {
  let server: KafkaServer | undefined
  beforeAll(async () => {
    server = await startKafka({ config: { 'auto.create.topics.enable': false } })
  })
  afterAll(() => server?.stop())
  // Nearly all of them wait until a topic has been missing for 10 s.
  describe.concurrent('several scenarios in parallel', () => {
    missingTopics(kafkaBackend(() => server!.brokers))
    for (const groupProtocol of hasConsumerProtocol ? groupProtocols : (['classic'] as const)) {
      topicsThatComeAndGo(kafkaBackend(() => server!.brokers, { groupProtocol }))
    }
  })
})
