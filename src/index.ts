export type {
  ClientMessage,
  CommitMessage,
  PartitionPlace,
  ProcessMessage,
  PublishMessage,
  RebalanceMessage,
  ReceiveMessage,
  SettleMessage,
} from './channels.js'
export type {
  AssignedPartition,
  Client,
  ClientOptions,
  CloseOptions,
  CloseReport,
  CodecName,
  Codecs,
  DecodedTopicOptions,
  DlqReplayOptions,
  DlqReplayProgress,
  Environment,
  KeptPosition,
  LeakAction,
  PositionsOption,
  PublishOptions,
  ReadOptions,
  RecordStream,
  SeekOffset,
  SeekTo,
  SslOptions,
  TopicOptions,
  TopicSelection,
} from './client/client.js'
export { createClient } from './client/create-client.js'
export type { KeyFenceOptions } from './client/key-fence.js'
export type { LogFunction } from './client/logger.js'
export type { CommitPoint, Committed } from './commit-point.js'
export { type Delivery, type DeliveryOwner, type DeliveryPhase, deliveryBehind, type Rebalances } from './delivery.js'
export type {
  ConsumeRequest,
  Driver,
  DriverContext,
  DriverEvent,
  GroupProtocol,
  Moved,
  PartitionAssignment,
  ReadEvent,
  ReadRequest,
  Seek,
  StartFrom,
} from './driver.js'
export * from './errors.js'
export type { ClientEvent, ClientState, Place, RecordPlace, Stall, StallReason, StallsOptions } from './events.js'
export { type Completed, type Disposition, Failed } from './failure.js'
export type { ClientHealth, ClientMetrics, PartitionMetrics, TopicMetrics } from './metrics.js'
export * from './operators/index.js'
export type { Outgoing } from './outgoing.js'
export type { ProduceResult, Refused, Written } from './produce-result.js'
export type { HeaderValue, PublishRecord, RecordHeaders, RecordMetadata } from './publish.js'
export type { ReadRecord } from './read-record.js'
export type { ConsumedHeaders, ConsumeRecord, FailOptions, Outrun, RecordSource } from './record.js'
export type { HeaderPair, RecordBatch } from './record-batch.js'
export * from './retry/index.js'
export type { Routing, RoutingClient } from './routing.js'
export type { SaslOptions } from './sasl.js'
