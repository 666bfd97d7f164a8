import { describe } from 'vitest'
import { describeKafka, kafkaBrokers } from '../kafka/describe-kafka'
import { hasConsumerProtocol } from '../kafka/group-protocols'
import { contract } from './contract'
import { kafkaBackend } from './kafka-backend'

describeKafka('on a real Kafka', () => {
  describe.skipIf(!hasConsumerProtocol)('that has the consumer protocol', () => {
    contract(
      'by the consumer protocol',
      kafkaBackend(() => kafkaBrokers, { groupProtocol: 'consumer' }),
    )
  })
})
