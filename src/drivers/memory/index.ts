export type { BrokerRecord, GroupCommit, GroupDescription, MemoryBrokerOptions, StoredRecord } from './broker.js'
export { MemoryBroker, memoryBroker } from './broker.js'
export type { FaultyRequest } from './faults.js'
export type { TopicConfig } from './topic.js'
