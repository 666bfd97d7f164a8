import { describeKafka, kafkaBrokers } from '../kafka/describe-kafka'
import { contract } from './contract'
import { kafkaBackend } from './kafka-backend'

describeKafka('on a real Kafka', () => {
  contract(
    'by the consumer protocol',
    kafkaBackend(() => kafkaBrokers, { groupProtocol: 'consumer' }),
  )
})
