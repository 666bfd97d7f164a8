/** Kafka's error codes for a produced batch, by what they ask for. */
const names: Readonly<Record<number, string>> = {
  2: 'CORRUPT_MESSAGE',
  3: 'UNKNOWN_TOPIC_OR_PARTITION',
  5: 'LEADER_NOT_AVAILABLE',
  6: 'NOT_LEADER_FOR_PARTITION',
  7: 'REQUEST_TIMED_OUT',
  10: 'MESSAGE_TOO_LARGE',
  17: 'INVALID_TOPIC_EXCEPTION',
  18: 'RECORD_LIST_TOO_LARGE',
  19: 'NOT_ENOUGH_REPLICAS',
  20: 'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  29: 'TOPIC_AUTHORIZATION_FAILED',
  31: 'CLUSTER_AUTHORIZATION_FAILED',
  32: 'INVALID_TIMESTAMP',
  43: 'UNSUPPORTED_FOR_MESSAGE_FORMAT',
  44: 'POLICY_VIOLATION',
  45: 'OUT_OF_ORDER_SEQUENCE_NUMBER',
  46: 'DUPLICATE_SEQUENCE_NUMBER',
  47: 'INVALID_PRODUCER_EPOCH',
  49: 'INVALID_PRODUCER_ID_MAPPING',
  59: 'UNKNOWN_PRODUCER_ID',
  76: 'UNSUPPORTED_COMPRESSION_TYPE',
  87: 'INVALID_RECORD',
}

const permanent = new Set([10, 17, 18, 29, 31, 32, 43, 44, 76, 87])
/** For which one record may be to blame. */
const ofOneRecord = new Set([10, 18, 32, 44, 87])
const ofSequence = new Set([45, 46, 47, 49, 59])

export function nameOfCode(code: number): string {
  return names[code] ?? `error ${code} of Kafka's`
}

/** The same batch will never be taken. */
export function isPermanentCode(code: number): boolean {
  return permanent.has(code)
}

export function mayBeOneRecord(code: number): boolean {
  return ofOneRecord.has(code)
}

/** The broker does not know this producer, or not so far: it has to introduce itself anew. */
export function isSequenceCode(code: number): boolean {
  return ofSequence.has(code)
}

export function isRetriableCode(code: number): boolean {
  return !isPermanentCode(code) && !isSequenceCode(code)
}
