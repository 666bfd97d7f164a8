export {
  type BrokerRecord,
  type FaultyRequest,
  type GroupCommit,
  type GroupDescription,
  MemoryBroker,
  type MemoryBrokerOptions,
  memoryBroker,
  type StoredRecord,
} from '../drivers/memory/index.js'
export type { Diagrams } from './expectation.js'
export type {
  CommitsOf,
  DiagramExpectation,
  ErrorMarks,
  EventMarks,
  MarbleHelpers,
  OfClient,
  RecordContent,
  VirtualHelpers,
} from './marble-helpers.js'
export { type MarbleOptions, type PromisedMarbleOptions, runMarbles } from './run-marbles.js'
