import { setMaxListeners } from 'node:events'
import type { ConsumeRecord } from '../../record.js'

/** The signal of one call of a handler. Made when it is first read; aborted when the work has become pointless. */
export class CallSignal {
  readonly #controller = new AbortController()
  /** The signals of the partitions that its records were read from. */
  readonly #partitions: ReadonlySet<AbortSignal>
  readonly #abortWithAll = () => {
    for (const { aborted } of this.#partitions) if (!aborted) return
    const [first] = this.#partitions
    this.abort(first?.reason)
  }

  constructor(records: readonly ConsumeRecord<unknown>[]) {
    // A handler may pass it to any number of requests. Node would warn of more than ten listeners.
    setMaxListeners(0, this.#controller.signal)
    this.#partitions = new Set(records.map(({ signal }) => signal))
    // A batch goes on while one of its records is still assigned here, because aborting would fail that record too.
    for (const partition of this.#partitions) partition.addEventListener('abort', this.#abortWithAll)
    this.#abortWithAll()
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  abort(reason: unknown): void {
    this.release()
    this.#controller.abort(reason)
  }

  /** Called when the call has ended: the signals of the partitions live longer. */
  release(): void {
    for (const partition of this.#partitions) partition.removeEventListener('abort', this.#abortWithAll)
  }
}
