/** A UUID as Kafka prints it: its 16 bytes in base64url, 22 characters. */
export type Uuid = string

/** Means "none", for example as the id of a topic that is requested by name. */
export const ZERO_UUID: Uuid = 'AAAAAAAAAAAAAAAAAAAAAA'

export const UUID_BYTES = 16
