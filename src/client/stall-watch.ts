import type { Subscription } from 'rxjs'
import type { Clock } from '../clock.js'
import type { RecordPlace, Stall, StallReason } from '../events.js'
import { Readable } from '../readable.js'
import type { DeliveredRecord } from '../record.js'
import { recordPlace } from '../record-place.js'
import type { DeliveryWindow } from './delivery-window.js'
import { isLeftBehind } from './phases.js'
import type { Reports } from './reports.js'
import type { StreamTopic } from './stream-topic.js'

/** What the watch uses of its assignment. */
export interface StallWatchHost {
  /** As users name it. */
  readonly topic: string
  readonly partition: number
  readonly ended: boolean
  readonly window: DeliveryWindow
  /** Everything below this offset is completed. */
  readonly position: number
  /** The confirmed position; undefined without a group. */
  readonly confirmed: bigint | undefined
  /** Whether the broker has confirmed this position or a later one. */
  isCommittedTo(position: number): boolean
  readonly reading: {
    closedBecause(): StallReason | undefined
    streamOf(record: DeliveredRecord): StreamTopic | undefined
  }
  /** When the oldest batch in the queue arrived, by the monotonic clock. Undefined if the queue is empty. */
  readonly queuedSince: number | undefined
  /** The next record of that batch, if there is one. */
  queuedRecord(): DeliveredRecord | undefined
  /** Whether the bytes of the record are not held in memory. */
  isReleased(record: DeliveredRecord): boolean
  /** When a `not-due` record is due, by the monotonic clock. */
  dueOf(record: DeliveredRecord): number | undefined
  /** The same for all `not-due` records. */
  dues(): ReadonlyMap<DeliveredRecord, number>
}

/** Has the fields of the contract as own properties; `due` is a getter. Printable in a log. */
class StallObject extends Readable {
  readonly #due: number | undefined

  constructor({ due, ...fields }: Omit<Stall, 'due'> & { readonly due: number | undefined }) {
    super()
    this.#due = due
    Object.assign(this, fields)
  }

  get due(): number | undefined {
    return this.#due
  }
}

/** A stall whose times are those of the monotonic clock. */
type Held = Omit<Stall, 'due'> & { readonly due?: number | undefined }

/** A copy: the bytes are a view of a fetch, which must not be kept in memory by them. */
function ownCopy(bytes: Buffer | null): Buffer | null {
  return bytes && Buffer.from(bytes)
}

/** Tells which record holds back the committed position of an assignment, why and since when. Reports what lasts for `stallAfter`. */
export class StallWatch {
  /** For each time at which records entered the window, the first slot. */
  readonly #deliveredAt: { slot: number; at: number }[] = []
  /** When the completed position got ahead of the confirmed one, by the monotonic clock. */
  #behindSince: number | undefined
  #timer: Subscription | undefined
  /** What was reported as stalled. `slot` is undefined if it waits for a commit. */
  #stalled: { readonly place: RecordPlace; readonly slot: number | undefined } | undefined

  constructor(
    readonly host: StallWatchHost,
    readonly clock: Clock,
    readonly reports: Reports,
    readonly stallAfter: number,
  ) {}

  // ── Notifications ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Records from the window's tail on are added now. */
  markTime(): void {
    const at = this.clock.monotonic()
    const last = this.#deliveredAt.at(-1)
    if (last === undefined || last.at !== at) this.#deliveredAt.push({ slot: this.host.window.tail, at })
    this.look()
  }

  /** The position has moved. */
  advanced(): void {
    const { head } = this.host.window
    if (this.host.confirmed !== undefined && this.#behindSince === undefined) this.fallBehind()
    while (this.#deliveredAt.length > 1 && this.#deliveredAt[1]!.slot <= head) this.#deliveredAt.shift()
    if (this.#stalled?.slot !== undefined && head > this.#stalled.slot) {
      this.#unstall()
      this.look()
    }
  }

  /** The broker confirmed a commit. */
  committed(offset: bigint): void {
    this.#behindSince = undefined
    if (this.#stalled?.slot === undefined && this.#stalled !== undefined && offset > this.#stalled.place.offset) {
      this.#unstall()
    }
    if (offset < BigInt(this.host.position)) this.fallBehind()
  }

  /** The broker has not confirmed everything that is completed. */
  fallBehind(): void {
    this.#behindSince = this.clock.monotonic()
    this.look()
  }

  /** Starts the timer for what may be held back from now on. */
  look(): void {
    if (this.#timer !== undefined || this.#stalled !== undefined || this.host.ended) return
    const { clock, stallAfter, host } = this
    const now = clock.monotonic()
    const since = this.#heldBack()?.since ?? host.queuedSince ?? now
    // If nothing is held back when the timer fires, it runs for the whole time again.
    const wait = since + stallAfter > now ? since + stallAfter - now : stallAfter
    this.#timer = clock.scheduler.schedule(() => {
      this.#timer = undefined
      if (host.window.span === 0 && host.queuedSince === undefined && this.#behindSince === undefined) return
      const stall = this.#heldBack()
      if (stall !== undefined && clock.monotonic() - stall.since >= stallAfter) this.#report(stall)
      else this.look()
    }, wait)
  }

  end(): void {
    this.#timer?.unsubscribe()
    // No later notification would end it, and a gauge of stalled positions would never come down.
    this.#unstall()
  }

  #report(stall: Held): void {
    const { topic, partition, offset, key, origin, why } = stall
    const place = { topic, partition, offset, key: ownCopy(key), ...(origin && { origin }) }
    this.#stalled = { place, slot: why === 'committing' ? undefined : this.host.window.head }
    this.reports.event({ type: 'stalled', ...this.#shown(stall) })
  }

  #unstall(): void {
    const stalled = this.#stalled
    this.#stalled = undefined
    if (stalled !== undefined) this.reports.event({ type: 'unstalled', ...stalled.place })
  }

  // ── Queries ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Returns what holds the committed position back; undefined if nothing does. */
  stall(): Stall | undefined {
    const stall = this.#heldBack()
    const head = this.host.window.at(this.host.window.head)
    return stall && this.#shown({ ...stall, due: stall.why === 'not-due' ? this.host.dueOf(head!) : undefined })
  }

  /** Returns every held record. The first one holds the position back. */
  stalls(): Stall[] {
    const { window } = this.host
    if (window.span === 0) {
      const stall = this.stall()
      return stall === undefined ? [] : [stall]
    }
    const stalls: Stall[] = []
    const marks = this.#deliveredAt
    const dues = this.host.dues()
    let at = 0
    for (const record of window) {
      while (at + 1 < marks.length && marks[at + 1]!.slot <= record.slot) at++
      const since = marks[at]?.at ?? this.clock.monotonic()
      stalls.push(this.#shown({ ...this.#stallAt(record, since, this.#whyAt(record)), due: dues.get(record) }))
    }
    return stalls
  }

  /** When the oldest record in a pipeline was delivered, ms since 1970. */
  oldestUnsettledSince(): number | undefined {
    let at = 0
    const marks = this.#deliveredAt
    for (const { phase, slot } of this.host.window) {
      if (phase !== 'unsettled' && phase !== 'behind' && phase !== 'resting') continue
      while (at + 1 < marks.length && marks[at + 1]!.slot <= slot) at++
      const since = marks[at]?.at ?? this.clock.monotonic()
      return this.clock.wall() - (this.clock.monotonic() - since)
    }
    return undefined
  }

  /** What a close leaves: the first record that was delivered and not completed, or the commit that is not confirmed. */
  leftBehind(): Stall | undefined {
    for (const record of this.host.window) {
      if (!isLeftBehind(record.phase)) continue
      const stall = this.#stallAt(record, this.#headSince(), this.#whyAt(record))
      return this.#shown({ ...stall, key: ownCopy(stall.key) })
    }
    const committing = this.#committing()
    return committing && this.#shown(committing)
  }

  /** The first slot that was added after `time`. */
  firstSlotSince(time: number): number {
    return this.#deliveredAt.find(({ at }) => at > time)?.slot ?? this.host.window.tail
  }

  /** Converts the times to the wall clock as it is now. */
  #shown({ since, due, ...stall }: Held): Stall {
    const ahead = this.clock.wall() - this.clock.monotonic()
    const dates = { since: ahead + since, due: due === undefined ? undefined : ahead + due }
    return new StallObject({ ...stall, ...dates }) as unknown as Stall
  }

  #headSince(): number {
    let since = this.#deliveredAt[0]?.at ?? this.clock.monotonic()
    for (const mark of this.#deliveredAt) {
      if (mark.slot > this.host.window.head) break
      since = mark.at
    }
    return since
  }

  /** What holds the position back, with times of the monotonic clock. */
  #heldBack(): Held | undefined {
    const { host } = this
    const head = host.window.at(host.window.head)
    if (head !== undefined) return this.#stallAt(head, this.#headSince(), this.#whyAt(head))
    const queued = host.queuedRecord()
    if (queued !== undefined) {
      const why = host.reading.closedBecause()
      if (why !== undefined) return this.#stallAt(queued, host.queuedSince!, why)
    }
    return this.#committing()
  }

  #committing(): Held | undefined {
    const { topic, partition, position, confirmed } = this.host
    if (confirmed === undefined || this.host.isCommittedTo(position)) return undefined
    return {
      ...{ topic, partition, offset: confirmed, key: null, attempt: 1 },
      since: this.#behindSince ?? this.clock.monotonic(),
      why: 'committing',
    }
  }

  #whyAt(record: DeliveredRecord): StallReason {
    switch (record.phase) {
      case 'waiting':
      case 'left':
        return this.host.reading.streamOf(record)?.closedBecause() ?? 'unsettled'
      case 'fenced':
      case 'behind':
      case 'resting':
        return 'unsettled'
      case 'held':
        return 'routing'
      default:
        return record.phase as StallReason
    }
  }

  #stallAt(record: DeliveredRecord, since: number, why: StallReason): Held {
    const place = recordPlace(record, this.host.isReleased(record) ? null : record.key)
    return { ...place, attempt: record.attempt, since, why }
  }
}
