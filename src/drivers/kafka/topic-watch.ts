import type { Subscriber } from 'rxjs'
import type { Clock } from '../../clock.js'
import { ConfigurationError } from '../../errors.js'
import { pause } from './backoff.js'
import type { Cluster } from './cluster/cluster.js'
import { cannotSeeTopic } from './missing-right.js'
import { RefusedConnectionError, UnansweredError } from './transport/failures.js'

/** A topic must be missing for this time to count as deleted, ms: not every broker knows of a new topic at once. */
const deletedAfter = 3_000
/** The delay of the next check after a failure, or while a topic is missing, ms. */
const recheckAfter = 1_000
const minWait = 50

/** One subscription to the driver's `topicNames`: finds the existing topics by metadata. */
export class TopicWatch {
  /** The existing topics; undefined before the first answer. */
  #existing: Set<string> | undefined
  readonly #missingSince = new Map<string, number>()
  readonly #ended = new AbortController()
  /** Aborting it ends the present wait. */
  #waiting = new AbortController()

  constructor(
    readonly cluster: Cluster,
    readonly clock: Clock,
    /** Undefined: all topics that this client may see. */
    readonly names: readonly string[] | undefined,
    readonly subscriber: Subscriber<readonly string[]>,
  ) {
    const wake = () => this.#waiting.abort()
    subscriber.add(() => {
      this.#ended.abort()
      wake()
    })
    // The watch may begin before `consume`, which sets how soon changes must be noticed.
    subscriber.add(cluster.onMaxAge(wake))
    this.#watch().catch(error => subscriber.error(error))
  }

  async #watch(): Promise<void> {
    while (!this.#isOver) {
      this.#waiting = new AbortController()
      await pause(await this.#check(), this.#waiting.signal)
    }
  }

  get #isOver(): boolean {
    return this.#ended.signal.aborted || this.cluster.ended.aborted
  }

  /** Resolves to the delay before the next check, ms. */
  async #check(): Promise<number> {
    // Checked twice within `maxAge`, because a topic that is found must also be joined within that time.
    const wait = Math.max(minWait, this.cluster.maxAge / 2)
    try {
      const found = await this.cluster.lookUp(this.names)
      if (this.#isOver) return 0
      const refused = [...found].find(([, error]) => error?.has('notAuthorized'))
      if (this.#existing === undefined && refused !== undefined)
        throw new ConfigurationError(cannotSeeTopic(refused[0]))
      this.#take(new Set([...found].flatMap(([name, error]) => (error === undefined ? [name] : []))))
      return this.#missingSince.size > 0 ? Math.min(wait, recheckAfter) : wait
    } catch (error) {
      if (this.#isOver) return 0
      // Brokers that are away or refuse the client are reported by other means.
      if (error instanceof UnansweredError || error instanceof RefusedConnectionError)
        return Math.min(wait, recheckAfter)
      throw error
    }
  }

  #take(found: Set<string>): void {
    const now = this.clock.monotonic()
    const before = this.#existing ?? new Set()
    for (const name of before) {
      if (found.has(name)) {
        this.#missingSince.delete(name)
        continue
      }
      const since = this.#missingSince.get(name) ?? now
      if (now - since >= deletedAfter) this.#missingSince.delete(name)
      else {
        this.#missingSince.set(name, since)
        found.add(name)
      }
    }
    const isChanged =
      this.#existing === undefined || found.size !== before.size || [...found].some(name => !before.has(name))
    this.#existing = found
    if (isChanged) this.subscriber.next([...found].sort())
  }
}
