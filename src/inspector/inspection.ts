import type { ServerResponse } from 'node:http'
import { Subscription } from 'rxjs'
import { type Onlooker, onlooker } from '../channels.js'
import type { Client } from '../client/client.js'
import { systemClock } from '../clock.js'
import type { RxMikaError } from '../errors.js'
import type { ClientEvent } from '../events.js'
import { errorHappening, HappeningLog, happeningOf } from './happenings.js'
import type { Happening, Identity, Snapshot, StallsAnswer, Standing, TestAnswer } from './messages.js'
import { RebalanceWatch } from './rebalance-watch.js'
import type { RecentWindow } from './recent.js'
import { Standings, stallState } from './standing.js'
import { Viewer } from './viewer.js'
import { Watching } from './watching.js'

/** Interval between frames, ms. */
const frameEvery = 250
/** One of this many frames carries the current state (`standing`). */
const standingEvery = 4
/** How long `end` waits until the last frame is sent to every viewer, ms. */
const lastFrameTimeout = 500
/** Limit on viewers that are connected at the same time. */
export const maxViewers = 8
/** Limit on the stalls in one answer of `/stalls`. */
const maxStalls = 1_000

/**
 * Observes one client and sends what it sees to the viewers.
 *
 * While no viewer is connected, it only keeps dead letters, errors and rebalances, and does nothing for a record that succeeds.
 * It subscribes to the tracing channels of records when the first viewer connects, and unsubscribes when the last one leaves.
 */
export class Inspection {
  readonly #since = systemClock.wall()
  readonly #deadLetters = new HappeningLog()
  readonly #errors = new HappeningLog()
  readonly #rebalances = new HappeningLog()
  readonly #listening = new Subscription()
  readonly #standings: Standings
  readonly #viewers = new Set<Viewer>()
  #watching: Watching | undefined
  #timer: NodeJS.Timeout | undefined
  #frames = 0

  readonly identity: Identity

  constructor(readonly client: Client) {
    // Undefined if the client is of an earlier version of this package.
    const internals = (client as Client & { readonly [onlooker]?: Onlooker })[onlooker]
    const { clientId = null, group = null, retryTopic = null, dlqTopic = null } = internals ?? {}
    this.identity = { clientId, group, retryTopic, dlqTopic, pid: process.pid, version: 1 }
    this.#standings = new Standings(client, this.identity, systemClock)
    const rebalances = new RebalanceWatch(client, systemClock, rebalance => this.#rebalance(rebalance))
    this.#listening.add(() => rebalances.end())
    this.#listening.add(client.events.subscribe(event => this.#event(event)))
    this.#listening.add((internals?.errors ?? client.errors).subscribe(error => this.#error(error)))
  }

  get hasRoom(): boolean {
    return !this.#listening.closed && this.#viewers.size < maxViewers
  }

  /** Makes the response a viewer: it gets a snapshot now, and frames until it closes. */
  join(response: ServerResponse): void {
    // The snapshot contains everything until now. So the pending frame is sent first, and only to the viewers that are there
    // already: the new viewer would get its events twice.
    if (this.#watching !== undefined) this.#frame(false)
    const viewer = new Viewer(response)
    this.#watching ??= this.#watch()
    this.#viewers.add(viewer)
    response.on('close', () => this.#leave(viewer))
    const { names } = this.#watching.rows
    viewer.begin(JSON.stringify(this.#snapshot(names)), names.length)
  }

  stalls(all: boolean): StallsAnswer {
    const { client, identity } = this
    const stalls = client.stalls({ all })
    return {
      at: systemClock.wall(),
      identity,
      state: client.currentState,
      health: client.health(),
      stalls: stalls.slice(0, maxStalls).map(stallState),
      more: Math.max(0, stalls.length - maxStalls),
    }
  }

  /** Writes a marble test of the newest records. Records are observed only while a viewer is connected. */
  async test(window: RecentWindow): Promise<TestAnswer> {
    if (this.#watching !== undefined) return this.#watching.recent.writeTest(window)
    return {
      test: null,
      diagram: null,
      why: 'records are observed only while a viewer is connected',
      written: 0,
      of: 0,
    }
  }

  /** @param done Called once the last frame is sent to every viewer, at the latest after `lastFrameTimeout`. */
  end(done: () => void = () => {}): void {
    this.#listening.unsubscribe()
    if (this.#viewers.size > 0) this.#frame(true)
    const open = new Set(this.#viewers)
    const timeout = setTimeout(done, lastFrameTimeout)
    const left = (viewer: Viewer) => {
      open.delete(viewer)
      if (open.size > 0) return
      clearTimeout(timeout)
      done()
    }
    for (const viewer of this.#viewers) viewer.response.end(() => left(viewer))
    if (open.size === 0) {
      clearTimeout(timeout)
      // In a later turn, so that requests in progress are still answered.
      setImmediate(done)
    }
    this.#unwatch()
  }

  #event(event: ClientEvent): void {
    const { type } = event
    // Some events are frequent, such as `committed` and `skipped`. Without a viewer they cost nothing.
    if (this.#watching === undefined && type !== 'dead-lettered') return
    const at = systemClock.wall()
    const happening = happeningOf(event, at)
    if (type === 'dead-lettered') this.#deadLetters.add(happening!)
    this.#watching?.event(event, happening, at)
  }

  #rebalance(rebalance: Happening): void {
    this.#rebalances.add(rebalance)
    this.#watching?.happened(rebalance)
  }

  #error(error: RxMikaError): void {
    const happening = errorHappening(error, systemClock.wall())
    this.#errors.add(happening)
    this.#watching?.happened(happening)
  }

  #snapshot(rows: readonly string[]): Snapshot {
    return {
      type: 'snapshot',
      at: systemClock.wall(),
      since: this.#since,
      identity: this.identity,
      deadLetters: this.#deadLetters.toJSON(),
      errors: this.#errors.toJSON(),
      rebalances: this.#rebalances.toJSON(),
      rows,
      ...this.#standing(),
    }
  }

  #standing(): Standing {
    const [deadLetters, errors, rebalances] = [this.#deadLetters.count, this.#errors.count, this.#rebalances.count]
    return this.#standings.now({ deadLetters, errors, rebalances })
  }

  #watch(): Watching {
    this.#timer = setInterval(() => this.#frame(++this.#frames % standingEvery === 0), frameEvery)
    // A viewer does not keep the process alive.
    this.#timer.unref()
    return new Watching(this.client, () => systemClock.wall())
  }

  #frame(withStanding: boolean): void {
    const watching = this.#watching!
    const now = systemClock.wall()
    const standing = withStanding ? this.#standing() : null
    const rest = JSON.stringify({ ...watching.frame(now), standing }).slice(1)
    for (const viewer of this.#viewers) viewer.frame(rest, watching.rows.names, systemClock.monotonic())
  }

  #leave(viewer: Viewer): void {
    this.#viewers.delete(viewer)
    if (this.#viewers.size === 0) this.#unwatch()
  }

  #unwatch(): void {
    clearInterval(this.#timer)
    this.#watching?.end()
    this.#watching = undefined
  }
}
