import type { ServerResponse } from 'node:http'

/** While more bytes than this are unread, a viewer gets no frames. */
const maxUnread = 512 * 1024
/** A viewer that stays above `maxUnread` for this long is disconnected, ms. */
const maxSlowTime = 30_000

/** One connection of `/events`. A viewer that reads too slowly misses frames: they are skipped, not queued. */
export class Viewer {
  #missed = 0
  /** How many names of rows have been sent. */
  #rows = 0
  /** When the viewer first was above `maxUnread`. Undefined while it is below. */
  #slowSince: number | undefined

  constructor(readonly response: ServerResponse) {}

  /** @param rows How many names of rows the snapshot contains. */
  begin(snapshot: string, rows: number): void {
    this.#rows = rows
    this.#write(snapshot)
  }

  /**
   * Sends a frame, unless too much is unread.
   *
   * @param rest The part of the frame that is equal for all viewers, as JSON without the opening brace.
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
    if (now - this.#slowSince >= maxSlowTime) this.response.destroy()
  }

  #write(text: string): void {
    this.response.write(`data: ${text}\n\n`)
  }
}
