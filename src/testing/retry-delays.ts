import type { StoredRecord } from '../drivers/memory/index.js'
import { nameOf } from './letters.js'
import type { HistoryEntry, Whose } from './scenario.js'

interface Delayed {
  readonly client: number
  /** Frames: when it failed, and for how long it is put off. */
  readonly failed: number
  readonly delay: number
  /** By how much the clock that dated it was ahead of the run's. */
  readonly ahead: number
}

/** When retries may be delivered: counted from the failure, by the run's own time, and not by the clocks of its members. */
export class RetryDelays {
  readonly #failures: Omit<Delayed, 'delay'>[] = []
  /** By place of the copy, and the group that it is for. */
  readonly #delayed = new Map<string, Delayed>()
  readonly #ahead = new Map<number, number>()
  /** The most that a client's clock ever was ahead. */
  readonly #mostAhead = new Map<number, number>()

  clockSet({ client, frame, wall }: Extract<HistoryEntry, { what: 'clock set' }>): void {
    this.#ahead.set(client, wall - frame)
    this.#mostAhead.set(client, Math.max(this.#mostAhead.get(client) ?? 0, wall - frame))
  }

  failed({ client, frame }: Whose): void {
    this.#failures.push({ client, failed: frame, ahead: this.#ahead.get(client) ?? 0 })
  }

  wrote(record: StoredRecord): void {
    for (const [name, value] of record.headerPairs) {
      const [, group] = /^mika_err_(.*)_not_before$/.exec(name) ?? []
      if (group === undefined) continue
      const failedAt = Number(record.headerPairs.findLast(([name]) => name === `mika_err_${group}_failed_at`)?.[1])
      // Whose failure it was is told by its date alone; where two have the same, the earlier excuses more.
      const failure = this.#failures.find(({ failed, ahead }) => failed + ahead === failedAt)
      if (failure === undefined) continue
      this.#delayed.set(`${group}\n${nameOf(record)}`, { ...failure, delay: Number(value) - failedAt })
    }
  }

  /** ms, 0 or less: not at all. */
  earlyBy(client: number, frame: number, place: string, group: string): number {
    const delayed = this.#delayed.get(`${group}\n${place}`)
    if (delayed === undefined) return 0
    const { failed, delay, ahead } = delayed
    // Its own clock tells a member nothing wrong; another's may have been behind.
    const skew = delayed.client === client ? 0 : Math.max(0, (this.#mostAhead.get(client) ?? 0) - ahead)
    return failed + delay - skew - frame
  }
}
