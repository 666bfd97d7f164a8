/** What an error code means for the client that gets it. A code has any number of traits. */
export type ErrorTrait =
  /** The same request may succeed later. In Kafka, its exception is a `RetriableException`. */
  | 'retriable'
  /**
   * What the client knows of leaders, brokers or topics is stale, and must be fetched again. In Kafka, its exception is an
   * `InvalidMetadataException`. UNKNOWN_LEADER_EPOCH is included: it says that the broker or the client is behind.
   */
  | 'staleMetadata'
  /** Another broker is the coordinator, and must be looked up. */
  | 'coordinatorMoved'
  /**
   * As an answer to Produce: it does not rule out that the records were or will be appended. Their sequence numbers must
   * not be used for other records.
   *
   * Besides the time-out (7) and too few in-sync replicas (20), these are all codes that Kafka's `DelayedProduce` may answer
   * after the append: the leader moved (6), the replica was taken away (3, 100, 103), its disk failed (56). Also codes that
   * may be answered at any point (-1, 13), and the one that says that an earlier attempt was appended (46).
   */
  | 'mayHaveBeenWritten'
  /** As an answer to Produce: the same records will never be accepted. */
  | 'refusesRecords'
  /** As an answer to Produce: a single record may be the cause, and the others of its batch may be accepted without it. */
  | 'oneRecordToBlame'
  /** As an answer to Produce: the leader does not know this producer id, epoch or sequence any more. */
  | 'producerUnknown'
  /** The coordinator does not count this member, or its generation, to the group any more: its partitions are lost. */
  | 'memberIsOut'
  /** The user lacks a right. */
  | 'notAuthorized'

export interface KafkaError {
  readonly code: number
  /** The name in Kafka: `NOT_LEADER_OR_FOLLOWER`. A code that is not in the table is `UNKNOWN_CODE`. */
  readonly name: string
  has(trait: ErrorTrait): boolean
  /** For messages: `NOT_LEADER_OR_FOLLOWER (6)`. */
  toString(): string
}

type Row = readonly [code: number, name: string, ...traits: ErrorTrait[]]

/** Kafka's error codes as of Apache Kafka 4.4.0 (`org.apache.kafka.common.protocol.Errors`). The only list of them here. */
const rows = [
  [-1, 'UNKNOWN_SERVER_ERROR', 'mayHaveBeenWritten'],
  [0, 'NONE'],
  [1, 'OFFSET_OUT_OF_RANGE'],
  [2, 'CORRUPT_MESSAGE', 'retriable'],
  [3, 'UNKNOWN_TOPIC_OR_PARTITION', 'retriable', 'staleMetadata', 'mayHaveBeenWritten'],
  [4, 'INVALID_FETCH_SIZE'],
  [5, 'LEADER_NOT_AVAILABLE', 'retriable', 'staleMetadata'],
  [6, 'NOT_LEADER_OR_FOLLOWER', 'retriable', 'staleMetadata', 'mayHaveBeenWritten'],
  [7, 'REQUEST_TIMED_OUT', 'retriable', 'mayHaveBeenWritten'],
  [8, 'BROKER_NOT_AVAILABLE'],
  [9, 'REPLICA_NOT_AVAILABLE', 'retriable', 'staleMetadata'],
  [10, 'MESSAGE_TOO_LARGE', 'refusesRecords', 'oneRecordToBlame'],
  [11, 'STALE_CONTROLLER_EPOCH'],
  [12, 'OFFSET_METADATA_TOO_LARGE'],
  [13, 'NETWORK_EXCEPTION', 'retriable', 'staleMetadata', 'mayHaveBeenWritten'],
  [14, 'COORDINATOR_LOAD_IN_PROGRESS', 'retriable'],
  [15, 'COORDINATOR_NOT_AVAILABLE', 'retriable', 'coordinatorMoved'],
  [16, 'NOT_COORDINATOR', 'retriable', 'coordinatorMoved'],
  [17, 'INVALID_TOPIC_EXCEPTION', 'refusesRecords'],
  [18, 'RECORD_LIST_TOO_LARGE', 'refusesRecords', 'oneRecordToBlame'],
  [19, 'NOT_ENOUGH_REPLICAS', 'retriable'],
  [20, 'NOT_ENOUGH_REPLICAS_AFTER_APPEND', 'retriable', 'mayHaveBeenWritten'],
  [21, 'INVALID_REQUIRED_ACKS'],
  [22, 'ILLEGAL_GENERATION', 'memberIsOut'],
  [23, 'INCONSISTENT_GROUP_PROTOCOL'],
  [24, 'INVALID_GROUP_ID'],
  [25, 'UNKNOWN_MEMBER_ID', 'memberIsOut'],
  [26, 'INVALID_SESSION_TIMEOUT'],
  [27, 'REBALANCE_IN_PROGRESS'],
  [28, 'INVALID_COMMIT_OFFSET_SIZE'],
  [29, 'TOPIC_AUTHORIZATION_FAILED', 'refusesRecords', 'notAuthorized'],
  [30, 'GROUP_AUTHORIZATION_FAILED', 'notAuthorized'],
  [31, 'CLUSTER_AUTHORIZATION_FAILED', 'refusesRecords', 'notAuthorized'],
  [32, 'INVALID_TIMESTAMP', 'refusesRecords', 'oneRecordToBlame'],
  [33, 'UNSUPPORTED_SASL_MECHANISM'],
  [34, 'ILLEGAL_SASL_STATE'],
  [35, 'UNSUPPORTED_VERSION'],
  [36, 'TOPIC_ALREADY_EXISTS'],
  [37, 'INVALID_PARTITIONS'],
  [38, 'INVALID_REPLICATION_FACTOR'],
  [39, 'INVALID_REPLICA_ASSIGNMENT'],
  [40, 'INVALID_CONFIG'],
  [41, 'NOT_CONTROLLER', 'retriable'],
  [42, 'INVALID_REQUEST'],
  [43, 'UNSUPPORTED_FOR_MESSAGE_FORMAT', 'refusesRecords'],
  [44, 'POLICY_VIOLATION', 'refusesRecords', 'oneRecordToBlame'],
  [45, 'OUT_OF_ORDER_SEQUENCE_NUMBER', 'producerUnknown'],
  [46, 'DUPLICATE_SEQUENCE_NUMBER', 'mayHaveBeenWritten', 'producerUnknown'],
  [47, 'INVALID_PRODUCER_EPOCH', 'producerUnknown'],
  [48, 'INVALID_TXN_STATE'],
  [49, 'INVALID_PRODUCER_ID_MAPPING', 'producerUnknown'],
  [50, 'INVALID_TRANSACTION_TIMEOUT'],
  [51, 'CONCURRENT_TRANSACTIONS', 'retriable'],
  [52, 'TRANSACTION_COORDINATOR_FENCED'],
  [53, 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED', 'refusesRecords', 'notAuthorized'],
  [54, 'SECURITY_DISABLED'],
  [55, 'OPERATION_NOT_ATTEMPTED'],
  [56, 'KAFKA_STORAGE_ERROR', 'retriable', 'staleMetadata', 'mayHaveBeenWritten'],
  [57, 'LOG_DIR_NOT_FOUND'],
  [58, 'SASL_AUTHENTICATION_FAILED'],
  [59, 'UNKNOWN_PRODUCER_ID', 'producerUnknown'],
  [60, 'REASSIGNMENT_IN_PROGRESS'],
  [61, 'DELEGATION_TOKEN_AUTH_DISABLED'],
  [62, 'DELEGATION_TOKEN_NOT_FOUND'],
  [63, 'DELEGATION_TOKEN_OWNER_MISMATCH'],
  [64, 'DELEGATION_TOKEN_REQUEST_NOT_ALLOWED'],
  [65, 'DELEGATION_TOKEN_AUTHORIZATION_FAILED', 'notAuthorized'],
  [66, 'DELEGATION_TOKEN_EXPIRED'],
  [67, 'INVALID_PRINCIPAL_TYPE'],
  [68, 'NON_EMPTY_GROUP'],
  [69, 'GROUP_ID_NOT_FOUND'],
  [70, 'FETCH_SESSION_ID_NOT_FOUND', 'retriable'],
  [71, 'INVALID_FETCH_SESSION_EPOCH', 'retriable'],
  [72, 'LISTENER_NOT_FOUND', 'retriable', 'staleMetadata'],
  [73, 'TOPIC_DELETION_DISABLED'],
  [74, 'FENCED_LEADER_EPOCH', 'retriable', 'staleMetadata'],
  [75, 'UNKNOWN_LEADER_EPOCH', 'retriable', 'staleMetadata'],
  [76, 'UNSUPPORTED_COMPRESSION_TYPE', 'refusesRecords'],
  [77, 'STALE_BROKER_EPOCH'],
  [78, 'OFFSET_NOT_AVAILABLE', 'retriable'],
  [79, 'MEMBER_ID_REQUIRED'],
  [80, 'PREFERRED_LEADER_NOT_AVAILABLE', 'retriable', 'staleMetadata'],
  [81, 'GROUP_MAX_SIZE_REACHED'],
  [82, 'FENCED_INSTANCE_ID', 'memberIsOut'],
  [83, 'ELIGIBLE_LEADERS_NOT_AVAILABLE', 'retriable', 'staleMetadata'],
  [84, 'ELECTION_NOT_NEEDED', 'retriable', 'staleMetadata'],
  [85, 'NO_REASSIGNMENT_IN_PROGRESS'],
  [86, 'GROUP_SUBSCRIBED_TO_TOPIC'],
  [87, 'INVALID_RECORD', 'refusesRecords', 'oneRecordToBlame'],
  [88, 'UNSTABLE_OFFSET_COMMIT', 'retriable'],
  [89, 'THROTTLING_QUOTA_EXCEEDED', 'retriable'],
  [90, 'PRODUCER_FENCED', 'producerUnknown'],
  [91, 'RESOURCE_NOT_FOUND'],
  [92, 'DUPLICATE_RESOURCE'],
  [93, 'UNACCEPTABLE_CREDENTIAL'],
  [94, 'INCONSISTENT_VOTER_SET'],
  [95, 'INVALID_UPDATE_VERSION'],
  [96, 'FEATURE_UPDATE_FAILED'],
  [97, 'PRINCIPAL_DESERIALIZATION_FAILURE'],
  [98, 'SNAPSHOT_NOT_FOUND'],
  [99, 'POSITION_OUT_OF_RANGE'],
  [100, 'UNKNOWN_TOPIC_ID', 'retriable', 'staleMetadata', 'mayHaveBeenWritten'],
  [101, 'DUPLICATE_BROKER_REGISTRATION'],
  [102, 'BROKER_ID_NOT_REGISTERED'],
  [103, 'INCONSISTENT_TOPIC_ID', 'retriable', 'staleMetadata', 'mayHaveBeenWritten'],
  [104, 'INCONSISTENT_CLUSTER_ID'],
  [105, 'TRANSACTIONAL_ID_NOT_FOUND'],
  [106, 'FETCH_SESSION_TOPIC_ID_ERROR', 'retriable'],
  [107, 'INELIGIBLE_REPLICA'],
  [108, 'NEW_LEADER_ELECTED'],
  [109, 'OFFSET_MOVED_TO_TIERED_STORAGE'],
  [110, 'FENCED_MEMBER_EPOCH', 'memberIsOut'],
  [111, 'UNRELEASED_INSTANCE_ID'],
  [112, 'UNSUPPORTED_ASSIGNOR'],
  [113, 'STALE_MEMBER_EPOCH'],
  [114, 'MISMATCHED_ENDPOINT_TYPE'],
  [115, 'UNSUPPORTED_ENDPOINT_TYPE'],
  [116, 'UNKNOWN_CONTROLLER_ID'],
  [117, 'UNKNOWN_SUBSCRIPTION_ID'],
  [118, 'TELEMETRY_TOO_LARGE'],
  [119, 'INVALID_REGISTRATION'],
  [120, 'TRANSACTION_ABORTABLE'],
  [121, 'INVALID_RECORD_STATE'],
  [122, 'SHARE_SESSION_NOT_FOUND', 'retriable'],
  [123, 'INVALID_SHARE_SESSION_EPOCH', 'retriable'],
  [124, 'FENCED_STATE_EPOCH'],
  [125, 'INVALID_VOTER_KEY'],
  [126, 'DUPLICATE_VOTER'],
  [127, 'VOTER_NOT_FOUND'],
  [128, 'INVALID_REGULAR_EXPRESSION'],
  [129, 'REBOOTSTRAP_REQUIRED'],
  [130, 'STREAMS_INVALID_TOPOLOGY'],
  [131, 'STREAMS_INVALID_TOPOLOGY_EPOCH'],
  [132, 'STREAMS_TOPOLOGY_FENCED'],
  [133, 'SHARE_SESSION_LIMIT_REACHED', 'retriable'],
  [134, 'GROUP_DELETION_FAILED'],
  [135, 'STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED'],
  [136, 'CONTROLLER_ID_NOT_REGISTERED'],
] as const satisfies readonly Row[]

/** The name of a code in the table. */
export type ErrorName = (typeof rows)[number][1]

class CodedError implements KafkaError {
  readonly #traits: ReadonlySet<ErrorTrait>

  constructor(
    readonly code: number,
    readonly name: string,
    traits: readonly ErrorTrait[],
  ) {
    this.#traits = new Set(traits)
  }

  has(trait: ErrorTrait): boolean {
    return this.#traits.has(trait)
  }

  toString(): string {
    return `${this.name} (${this.code})`
  }
}

const byCode: ReadonlyMap<number, KafkaError> = new Map(
  rows.map(([code, name, ...traits]) => [code, new CodedError(code, name, traits)]),
)

/** The code of each name: `errorCode.OFFSET_OUT_OF_RANGE` is 1. */
export const errorCode = Object.fromEntries(rows.map(([code, name]) => [name, code])) as Readonly<
  Record<ErrorName, number>
>

/** All codes of the table, including 0 (NONE). */
export const kafkaErrors: readonly KafkaError[] = [...byCode.values()]

/**
 * The meaning of an error code. A code that is not in the table is retriable and may have been written, because nothing can
 * be concluded from it.
 */
export function kafkaError(code: number): KafkaError {
  return byCode.get(code) ?? new CodedError(code, 'UNKNOWN_CODE', ['retriable', 'mayHaveBeenWritten'])
}
