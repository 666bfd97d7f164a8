import type { KafkaError } from '../../../protocol/errors.js'

/** A broker's answer that carries an error code: what was asked, of what, and the code. */
export class ProtocolFailure extends Error {
  constructor(
    readonly error: KafkaError,
    /** What failed, as a sentence without an end: `group 'billing' could not be joined`. */
    what: string,
    /** Where it is about one topic alone. */
    readonly topic?: string,
  ) {
    super(`${what}: ${error}`)
    this.name = 'ProtocolFailure'
  }
}
