/** A UUID as Kafka prints it: its 16 bytes in base64url, 22 characters. */
export type Uuid = string

/** Stands for "none", such as the id of a topic that is asked for by name. */
export const ZERO_UUID: Uuid = 'AAAAAAAAAAAAAAAAAAAAAA'

export const UUID_BYTES = 16
