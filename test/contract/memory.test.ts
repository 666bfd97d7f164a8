import { contract } from './contract'
import { memoryBackend } from './memory-backend'
import { missingTopics } from './suites/starting'

contract('on the in-process broker', memoryBackend())
contract('on the in-process broker, far away', memoryBackend({ latency: 5 }))
missingTopics(memoryBackend({ autoCreate: false }))
