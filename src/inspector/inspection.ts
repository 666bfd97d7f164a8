import type { ServerResponse } from 'node:http'
import { Subscription } from 'rxjs'
import { type Onlooker, onlooker } from '../channels.js'
import type { Client } from '../client/client.js'
import { systemClock } from '../clock.js'
import type { RxMikaError } from '../errors.js'
import type { ClientEvent } from '../events.js'
import type { Happening, Identity, Snapshot, StallsAnswer, Standing, TestAnswer } from './messages.js'
import { RebalanceWatch } from './rebalance-watch.js'
import type { RecentWindow } from './recent.js'
import { Standings, stallState } from './standing.js'
import { errorHappening, happeningOf, ToldList } from './told.js'
import { Viewer } from './viewer.js'
import { Watching } from './watching.js'

/** ms between frames. */
const frameEvery = 250
/** Frames between two that say how everything stands. */
const standingEvery = 4
/** How long viewers have to read what happened last, ms. */
const farewell = 500
/** Viewers at a time. */
export const maxViewers = 8
/** The most stalls that `/stalls` names. */
const maxStalls = 1_000

/**
 * What is known of one client. While nobody looks it counts dead letters, errors and rebalances, and does nothing per record
 * that succeeds; with the first viewer it listens to the channels, and with the last one's end it stops.
 */
export class Inspection {
  readonly #since = systemClock.wall()
  readonly #deadLetters = new ToldList()
  readonly #errors = new ToldList()
  readonly #rebalances = new ToldList()
  readonly #listening = new Subscription()
  readonly #standings: Standings
  readonly #viewers = new Set<Viewer>()
  #watching: Watching | undefined
  #timer: NodeJS.Timeout | undefined
  #frames = 0

  readonly identity: Identity

  constructor(readonly client: Client) {
    // A client of an earlier version of this package has none.
    const onlookers = (client as Client & { readonly [onlooker]?: Onlooker })[onlooker]
    const { clientId = null, group = null, retryTopic = null, dlqTopic = null } = onlookers ?? {}
    this.identity = { clientId, group, retryTopic, dlqTopic, pid: process.pid, version: 1 }
    this.#standings = new Standings(client, this.identity, systemClock)
    const rebalances = new RebalanceWatch(client, systemClock, rebalance => this.#rebalance(rebalance))
    this.#listening.add(() => rebalances.end())
    this.#listening.add(client.events.subscribe(event => this.#event(event)))
    this.#listening.add((onlookers?.errors ?? client.errors).subscribe(error => this.#error(error)))
  }

  get hasRoom(): boolean {
    return !this.#listening.closed && this.#viewers.size < maxViewers
  }

  /** The response is a viewer's from now on, until it closes. */
  join(response: ServerResponse): void {
    // What has happened so far is in the snapshot, and in no frame of this viewer's.
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

  /** A marble test of what was seen last. There is something to write while somebody looks. */
  async test(window: RecentWindow): Promise<TestAnswer> {
    if (this.#watching !== undefined) return this.#watching.recent.written(window)
    return { test: null, diagram: null, why: 'records are seen only while a viewer is connected', written: 0, of: 0 }
  }

  /** @param told Called once viewers have been told what happened last, or will not be told any more. */
  end(told: () => void = () => {}): void {
    this.#listening.unsubscribe()
    if (this.#viewers.size > 0) this.#frame(true)
    const open = new Set(this.#viewers)
    const patience = setTimeout(told, farewell)
    const left = (viewer: Viewer) => {
      open.delete(viewer)
      if (open.size > 0) return
      clearTimeout(patience)
      told()
    }
    for (const viewer of this.#viewers) viewer.response.end(() => left(viewer))
    if (open.size === 0) {
      clearTimeout(patience)
      // What is asked for at this moment is answered.
      setImmediate(told)
    }
    this.#unwatch()
  }

  #event(event: ClientEvent): void {
    const { type } = event
    // There is one for each commit and each record of another group: nothing is made of them while nobody looks.
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
    // Who looks on keeps no process alive.
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
