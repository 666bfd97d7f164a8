import { ConnectionError, FetchError, type RxMikaError } from '../../errors.js'
import { errorType, messageOf } from './protocol-error.js'
import { RepeatLimit } from './repeat-limit.js'

/** So many equal crashes in a row are no accident any more. */
const inARow = 3
/** The same reason is reported at most this often, ms. */
const reportEvery = 60_000

/** Kafka's answers to joining that others have to change: the group, or its members. */
const groupRefusals: ReadonlyMap<string, string> = new Map([
  [
    'INCONSISTENT_GROUP_PROTOCOL',
    'its members speak no protocol that this one speaks (rxmika-sticky, RoundRobinAssigner); it joins once they have left',
  ],
  [
    'GROUP_MAX_SIZE_REACHED',
    'it has as many members as the brokers allow (group.max.size); it joins once one has left',
  ],
])

/** Which crashes of a group's consumer are reported as errors, beside their `restarted` events. */
export class CrashReports {
  readonly #limit = new RepeatLimit(reportEvery)
  #last: string | undefined
  #equal = 0

  constructor(readonly group: string) {}

  /** Returns the error to report, if this crash is to be reported. */
  of(error: unknown): RxMikaError | undefined {
    const reason = messageOf(error)
    this.#equal = reason === this.#last ? this.#equal + 1 : 1
    this.#last = reason
    const type = errorType(error)
    const refusal = type === undefined ? undefined : groupRefusals.get(type)
    if (refusal !== undefined) {
      if (!this.#limit.allows(type!)) return undefined
      return new ConnectionError(`group '${this.group}' does not let this member in: ${refusal} (${type})`, {
        cause: error,
      })
    }
    if (this.#equal < inARow || !this.#limit.allows(reason)) return undefined
    const message = `the consumer of group '${this.group}' has crashed ${this.#equal} times in a row; it is made anew each time: ${reason}`
    return new FetchError(message, { cause: error })
  }

  /** It has joined. */
  joined(): void {
    this.#last = undefined
    this.#equal = 0
  }
}
