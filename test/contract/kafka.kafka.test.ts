import { afterAll, beforeAll } from 'vitest'
import { describeKafka, describeOwnKafka, kafkaBrokers } from '../kafka/describe-kafka'
import { type KafkaServer, startKafka } from '../kafka/kafka-server'
import { contract } from './contract'
import { kafkaBackend } from './kafka-backend'
import { compressed } from './suites/compressed'
import { leaking } from './suites/leaking'
import { topicsThatComeAndGo } from './suites/many-topics'
import { missingTopics } from './suites/starting'

describeKafka('on a real Kafka', () => {
  for (const groupProtocol of ['classic', 'consumer'] as const) {
    contract(
      `by the ${groupProtocol} protocol`,
      kafkaBackend(() => kafkaBrokers, { groupProtocol }),
    )
  }
  compressed(kafkaBackend(() => kafkaBrokers))
  leaking(kafkaBackend(() => kafkaBrokers))
})

describeOwnKafka('on a Kafka that creates no topics', () => {
  let server: KafkaServer | undefined
  beforeAll(async () => {
    server = await startKafka({ config: { 'auto.create.topics.enable': false } })
  })
  afterAll(() => server?.stop())
  missingTopics(kafkaBackend(() => server!.brokers))
  for (const groupProtocol of ['classic', 'consumer'] as const) {
    topicsThatComeAndGo(kafkaBackend(() => server!.brokers, { groupProtocol }))
  }
})
