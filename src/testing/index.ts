export {
  type BrokerRecord,
  type FaultyRequest,
  type GroupCommit,
  type GroupDescription,
  MemoryBroker,
  type MemoryBrokerOptions,
  memoryBroker,
  type StoredRecord,
  type TopicConfig,
} from '../drivers/memory/index.js'
export type { ScenarioChoices } from './choices.js'
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
export {
  type MarbleRecording,
  type RecordedEntry,
  type RecordedWindow,
  type RecordingOptions,
  recordMarbles,
} from './record-marbles.js'
export { type MarbleOptions, type PromisedMarbleOptions, runMarbles } from './run-marbles.js'
export type {
  History,
  HistoryCheck,
  HistoryEntry,
  Scenario,
  Simulation,
} from './scenario.js'
export type { SimulatedFaults, SimulatedTopic } from './schedule.js'
export { type SimulateOptions, type SimulationReport, simulate } from './simulate.js'
