import { describeKafka, kafkaBrokers } from '../kafka/describe-kafka'
import { contract } from './contract'
import { kafkaBackend } from './kafka-backend'
import { compressed } from './suites/compressed'
import { leaking } from './suites/leaking'

describeKafka('on a real Kafka', () => {
  contract(
    'by the classic protocol',
    kafkaBackend(() => kafkaBrokers, { groupProtocol: 'classic' }),
  )
  compressed(kafkaBackend(() => kafkaBrokers))
  leaking(kafkaBackend(() => kafkaBrokers))
})
