export {
  type BrokerRecord,
  type FaultyRequest,
  type GroupDescription,
  MemoryBroker,
  type MemoryBrokerOptions,
  memoryBroker,
  type StoredRecord,
} from '../drivers/memory/index.js'
