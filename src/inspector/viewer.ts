import type { ServerResponse } from 'node:http'

/** While more than this is unread, a viewer gets no further frames, bytes. */
const maxUnread = 512 * 1024
/** A viewer that has been over `maxUnread` for this long is disconnected, ms. */
const maxSlowTime = 30_000

/** One connection of `/events`. A viewer that is too slow misses frames; they are not queued. */
export class Viewer {
  #missed = 0
  /** How many names of rows have been sent. */
  #rows = 0
  /** Since when more than `maxUnread` has been unread. */
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
