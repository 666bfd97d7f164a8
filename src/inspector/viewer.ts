import type { ServerResponse } from 'node:http'

/** A viewer that has this much unread gets nothing more before it has read it, bytes. */
const maxUnread = 512 * 1024
/** One that has read nothing for this long is gone, ms. */
const patience = 30_000

/** One connection of `/events`. What it is too slow for it misses: nothing is queued for it. */
export class Viewer {
  #missed = 0
  /** Names of rows that it has. */
  #rows = 0
  /** Since when it has too much unread. */
  #slowSince: number | undefined

  constructor(readonly response: ServerResponse) {}

  /** @param rows How many names of rows are in it. */
  begin(snapshot: string, rows: number): void {
    this.#rows = rows
    this.#write(snapshot)
  }

  /**
   * Sends a frame, unless too much is unread.
   *
   * @param rest The frame as JSON, without what each viewer has of its own and without the brace that opens it.
   */
  frame(rest: string, rows: readonly string[], now: number): void {
    if (this.response.writableLength > maxUnread) return this.#miss(now)
    this.#slowSince = undefined
    const own = { rows: rows.slice(this.#rows), from: this.#rows, missed: this.#missed }
    this.#rows = rows.length
    this.#missed = 0
    this.#write(`${JSON.stringify(own).slice(0, -1)},${rest}`)
  }

  #miss(now: number): void {
    this.#missed++
    this.#slowSince ??= now
    if (now - this.#slowSince >= patience) this.response.destroy()
  }

  #write(text: string): void {
    this.response.write(`data: ${text}\n\n`)
  }
}
