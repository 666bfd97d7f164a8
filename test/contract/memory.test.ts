import { contract } from './contract'
import { memoryBackend } from './memory-backend'
import { missingTopics } from './suites/starting'

contract('on the in-process broker', memoryBackend())
missingTopics(memoryBackend({ autoCreate: false }))
