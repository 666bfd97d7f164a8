import { contract } from './contract'
import { memoryBackend } from './memory-backend'
import { topicsThatComeAndGo } from './suites/many-topics'
import { missingTopics } from './suites/starting'

contract('on the in-process broker', memoryBackend())
contract('on the in-process broker, far away', memoryBackend({ latency: 5 }))
contract(
  'on the in-process broker, far away, by the consumer protocol',
  memoryBackend({ latency: 5, groupProtocol: 'consumer' }),
)
missingTopics(memoryBackend({ autoCreate: false }))
for (const groupProtocol of ['classic', 'consumer'] as const) {
  topicsThatComeAndGo(memoryBackend({ autoCreate: false, groupProtocol }))
}
