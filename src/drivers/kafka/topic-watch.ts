import type { Subscriber } from 'rxjs'
import type { Clock } from '../../clock.js'
import { ConfigurationError } from '../../errors.js'
import { pause } from './backoff.js'
import type { Cluster } from './cluster/cluster.js'
import { cannotSeeTopic } from './missing-right.js'
import { RefusedConnectionError, UnansweredError } from './transport/failures.js'

/** How long a topic is missing until it counts as gone, ms: not every broker knows of a new one at once. */
const momentOfAbsence = 3_000
/** How soon is looked again after a failure, or while a topic is missing, ms. */
const soon = 1_000
const shortest = 50

/** One subscription to the driver's `topicNames`: which topics exist, looked for by metadata. */
export class TopicWatch {
  /** Those that are there; undefined: nobody has answered yet. */
  #there: Set<string> | undefined
  readonly #missingSince = new Map<string, number>()
  readonly #ended = new AbortController()
  /** Aborts to end the present wait. */
  #waiting = new AbortController()

  constructor(
    readonly cluster: Cluster,
    readonly clock: Clock,
    /** Undefined: all that this client may see. */
    readonly names: readonly string[] | undefined,
    readonly subscriber: Subscriber<readonly string[]>,
  ) {
    const wake = () => this.#waiting.abort()
    subscriber.add(() => {
      this.#ended.abort()
      wake()
    })
    // The watch begins before `consume`, which says how soon changes have to be noticed.
    subscriber.add(cluster.onMaxAge(wake))
    this.#watch().catch(error => subscriber.error(error))
  }

  async #watch(): Promise<void> {
    while (!this.#isOver) {
      this.#waiting = new AbortController()
      await pause(await this.#look(), this.#waiting.signal)
    }
  }

  get #isOver(): boolean {
    return this.#ended.signal.aborted || this.cluster.ended.aborted
  }

  /** Resolves with how long to wait until the next, ms. */
  async #look(): Promise<number> {
    // Looked for twice within that time: what is found has to be joined, too, before it is over.
    const wait = Math.max(shortest, this.cluster.maxAge / 2)
    try {
      const found = await this.cluster.look(this.names)
      if (this.#isOver) return 0
      const refused = [...found].find(([, error]) => error?.has('notAuthorized'))
      if (this.#there === undefined && refused !== undefined) throw new ConfigurationError(cannotSeeTopic(refused[0]))
      this.#take(new Set([...found].flatMap(([name, error]) => (error === undefined ? [name] : []))))
      return this.#missingSince.size > 0 ? Math.min(wait, soon) : wait
    } catch (error) {
      if (this.#isOver) return 0
      // Brokers that are away or refuse us are reported as such.
      if (error instanceof UnansweredError || error instanceof RefusedConnectionError) return Math.min(wait, soon)
      throw error
    }
  }

  #take(found: Set<string>): void {
    const now = this.clock.monotonic()
    const before = this.#there ?? new Set()
    for (const name of before) {
      if (found.has(name)) {
        this.#missingSince.delete(name)
        continue
      }
      const since = this.#missingSince.get(name) ?? now
      if (now - since >= momentOfAbsence) this.#missingSince.delete(name)
      else {
        this.#missingSince.set(name, since)
        found.add(name)
      }
    }
    const isNews = this.#there === undefined || found.size !== before.size || [...found].some(name => !before.has(name))
    this.#there = found
    if (isNews) this.subscriber.next([...found].sort())
  }
}
