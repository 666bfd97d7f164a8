import type { KafkaError } from '../../../protocol/errors.js'

/** An answer with an error code: the request, its subject, and the code. */
export class ProtocolFailure extends Error {
  constructor(
    readonly error: KafkaError,
    /** The failure, as a sentence without an end: `group 'billing' could not be joined`. */
    what: string,
    /** Set if it is about a single topic. */
    readonly topic?: string,
  ) {
    super(`${what}: ${error}`)
    this.name = 'ProtocolFailure'
  }
}
