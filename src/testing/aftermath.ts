import type { Client } from '../client/client.js'
import type { Stall } from '../events.js'
import { nearestName } from '../nearest-name.js'
import { placeName } from '../place.js'
import type { Letters } from './letters.js'
import type { Members } from './members.js'
import type { Sightings } from './sightings.js'

/** How many lines of one kind are shown. */
const maxLines = 8

/** Facts about a run that no record or event shows. */
export interface Circumstances {
  /** Clients whose process was killed. */
  readonly killed: ReadonlySet<Client>
  /** Topics that `records` has written to. */
  readonly written: ReadonlySet<string>
  /** True: code under test has its own driver, so not all clients are known. */
  readonly hasOtherClients: boolean
  /** True: a promise was made during a run in virtual time. */
  readonly promises: boolean
}

/**
 * What is left when a run is over: the held records with their reasons, and mistakes that would explain them. Collected
 * before the clients are closed, for the message of a failed test.
 */
export class Aftermath {
  readonly #heldLines: string[] = []
  readonly #stallLines: string[] = []
  #neverSettled = false

  constructor(
    readonly members: Members,
    readonly letters: Letters,
    readonly seen: Sightings,
    readonly circumstances: Circumstances,
  ) {
    for (const { client } of members.all) {
      if (circumstances.killed.has(client)) continue
      for (const stall of client.stalls({ all: true })) this.#heldLines.push(this.#described(client, stall))
      for (const stall of client.stalls()) this.#stallLines.push(`${placeName(stall)} ${stall.why}${this.#of(client)}`)
    }
    this.#addLeftByOthers()
  }

  /** Appended to a picture; empty if there is nothing to report. */
  get text(): string {
    return [
      ...section('still held', this.#heldLines),
      ...section('stalls()', this.#stallLines),
      ...section('hints', this.hints),
    ].join('\n')
  }

  /** Probable mistakes in the test or its pipeline. */
  get hints(): string[] {
    return [...this.whyUndelivered, ...this.#waitsForPromise(), ...this.#outrun()]
  }

  /** Why a record may not have been delivered. */
  get whyUndelivered(): string[] {
    return [...this.#unheard(), ...this.#unsubscribed()]
  }

  /** Adds records of clients that have closed or were killed, unless they were delivered to others since. */
  #addLeftByOthers(): void {
    const newest = new Map<string, { client: Client; settled: () => boolean; line: string }>()
    for (const { client, value: record } of this.seen.deliveries) {
      const place = { topic: this.members.fullName(client, record.topic), ...positionOf(record) }
      const { mark } = this.letters.of(place, record.value)
      newest.set(placeName(place), {
        client,
        settled: () => record.settled,
        line: `${this.#name(mark, place)} delivered, never settled; its client ${this.circumstances.killed.has(client) ? 'was killed' : 'has closed'}`,
      })
    }
    for (const { client, settled, line } of newest.values()) {
      if (settled()) continue
      if (client.currentState === 'closed' || this.circumstances.killed.has(client)) this.#heldLines.push(line)
    }
  }

  #described(client: Client, stall: Stall): string {
    const { topic, ...position } = stall.origin ?? stall
    const place = { topic: this.members.fullName(client, topic), ...positionOf(position) }
    const name = this.#name(this.letters.known(place), place)
    const attempt = stall.attempt > 1 ? ` (attempt ${stall.attempt})` : ''
    return `${stall.why === 'committing' ? '' : `${name} `}${this.#fate(client, stall)}${attempt}${this.#of(client)}`
  }

  #fate(client: Client, stall: Stall): string {
    switch (stall.why) {
      case 'unsettled': {
        const wasDelivered = this.seen.deliveries.some(
          ({ client: to, value: { source, attempt } }) =>
            to === client && placeName(source) === placeName(stall) && attempt === stall.attempt,
        )
        if (!wasDelivered) return 'not delivered yet'
        this.#neverSettled = true
        return 'delivered, never settled'
      }
      case 'routing':
        return 'failed, and its copy is not acknowledged, or a step of its route holds it'
      case 'unroutable':
        return 'failed, and no step of its route took it'
      case 'not-due':
        return 'waits for its retry'
      case 'no-subscriber':
        return 'not delivered: its topic has no subscriber'
      case 'paused':
        return 'not delivered: its topic is paused'
      case 'committing':
        return `what is completed from ${placeName(stall)} on is not committed`
    }
  }

  #name(letter: string | undefined, place: Parameters<typeof placeName>[0]): string {
    return letter === undefined || letter === '?' ? placeName(place) : letter
  }

  #of(client: Client): string {
    return this.members.all.length === 1 ? '' : this.members.nameOf({ client })
  }

  // ── Hints ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #unheard(): string[] {
    const { written, hasOtherClients } = this.circumstances
    if (hasOtherClients || written.size === 0 || this.members.all.length === 0) return []
    const shared = this.members.all.flatMap(({ client, options: { retryTopic, dlqTopic } }) =>
      [retryTopic, dlqTopic].flatMap(topic => (topic === undefined ? [] : this.members.fullName(client, topic))),
    )
    const registered = this.seen.registered.map(({ client, topic }) => this.members.fullName(client, topic))
    return [...written]
      .filter(topic => !shared.includes(topic) && !this.seen.isRegistered(topic, registered))
      .map(topic => {
        const suffixed = this.seen.registered.find(one => one.topic === topic)
        if (suffixed !== undefined) {
          const full = this.members.fullName(suffixed.client, topic)
          return `records were written to '${topic}', which no client reads: topic('${topic}') reads '${full}', because of the client's suffix`
        }
        const nearest = nearestName(topic, registered)
        const meant = nearest === undefined ? '' : `; did you mean '${nearest}'?`
        return `records were written to '${topic}', which no client has registered by topic('${topic}')${meant}`
      })
  }

  #unsubscribed(): string[] {
    return this.seen.registered
      .filter(({ subscribed }) => !subscribed)
      .map(
        ({ client, topic }) =>
          `topic '${topic}'${this.#of(client)} was never subscribed to: end its pipeline with subscribe(), or give it to expectObservable`,
      )
  }

  #waitsForPromise(): string[] {
    if (!this.#neverSettled) return []
    if (this.circumstances.promises) {
      return [
        'a promise was made, and in virtual time no promise settles: return an Observable, or give runMarbles advanceTimers',
      ]
    }
    return [
      'a record that is neither acked nor failed has often been dropped by an operator: use keep() for filter, latest() for debounceTime, fork() for share',
    ]
  }

  #outrun(): string[] {
    const lines = this.seen.events.flatMap(({ client, value: event }) => {
      if (event.type !== 'outrun') return []
      const { topic, partition, offset } = event.origin ?? event
      const place = { topic: this.members.fullName(client, topic), partition, offset }
      const name = this.#name(this.letters.known(place), place)
      return event.first === 'ack'
        ? `${name} failed after its ack, which counts: the failure is neither retried nor dead-lettered`
        : `${name} was acked after it had failed: the failure counts`
    })
    if (lines.length === 0) return []
    return [...new Set(lines), 'settle each record in one place; to handle it in several ways use fork(), not share()']
  }
}

function positionOf({ partition, offset }: { readonly partition: number; readonly offset: bigint }) {
  return { partition, offset }
}

function section(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return []
  const more = lines.length > maxLines ? [`and ${lines.length - maxLines} more`] : []
  return ['', `${title}:`, ...[...lines.slice(0, maxLines), ...more].map(line => `  ${line}`)]
}
