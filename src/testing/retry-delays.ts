import type { StoredRecord } from '../drivers/memory/index.js'
import { nameOf } from './letters.js'
import type { HistoryEntry, Whose } from './scenario.js'

interface Delayed {
  readonly client: number
  /** The frame of the failure, and the delay in frames. */
  readonly failed: number
  readonly delay: number
  /** How far the clock that dated it was ahead of the run's time. */
  readonly ahead: number
}

/** The earliest deliveries of retries: counted from the failure in the run's time, whatever the clocks of members show. */
export class RetryDelays {
  readonly #failures: Omit<Delayed, 'delay'>[] = []
  /** By the place of the copy and its group. */
  readonly #delayed = new Map<string, Delayed>()
  readonly #ahead = new Map<number, number>()
  /** How far a client's clock was ahead at most. */
  readonly #maxAhead = new Map<number, number>()

  clockSet({ client, frame, wall }: Extract<HistoryEntry, { what: 'clock set' }>): void {
    this.#ahead.set(client, wall - frame)
    this.#maxAhead.set(client, Math.max(this.#maxAhead.get(client) ?? 0, wall - frame))
  }

  failed({ client, frame }: Whose): void {
    this.#failures.push({ client, failed: frame, ahead: this.#ahead.get(client) ?? 0 })
  }

  wrote(record: StoredRecord): void {
    for (const [name, value] of record.headerPairs) {
      const [, group] = /^mika_err_(.*)_not_before$/.exec(name) ?? []
      if (group === undefined) continue
      const failedAt = Number(record.headerPairs.findLast(([name]) => name === `mika_err_${group}_failed_at`)?.[1])
      // Only the date tells which failure it was. Of two with the same date, take the earlier one, which excuses more.
      const failure = this.#failures.find(({ failed, ahead }) => failed + ahead === failedAt)
      if (failure === undefined) continue
      this.#delayed.set(`${group}\n${nameOf(record)}`, { ...failure, delay: Number(value) - failedAt })
    }
  }

  /** By how many ms a delivery is too early; 0 or less if it is not. */
  earlyBy(client: number, frame: number, place: string, group: string): number {
    const delayed = this.#delayed.get(`${group}\n${place}`)
    if (delayed === undefined) return 0
    const { failed, delay, ahead } = delayed
    // A member's own clock excuses nothing. Another member's clock may have been behind.
    const skew = delayed.client === client ? 0 : Math.max(0, (this.#maxAhead.get(client) ?? 0) - ahead)
    return failed + delay - skew - frame
  }
}
