import type { Clock } from '../../clock.js'
import { FetchError, type RxMikaError } from '../../errors.js'
import { kafkaError } from '../../protocol/errors.js'
import { fetch } from '../../protocol/messages/fetch.js'
import type { Cluster } from './cluster/cluster.js'
import { cannotReadTopic } from './missing-right.js'
import { unexpected } from './unexpected.js'

/** A topic may be missing for this time before its partitions are given up, ms: one that is recreated is missing for a moment. */
const giveUpAfter = 3_000
/** A topic may be missing for this time before that is an error, ms. A starting client waits for it as long. */
const reportAfter = 10_000
/** The interval of attempts to read a topic again, ms. */
const tryAgain = 2_000
/** The newest version of Fetch that has topic names. */
const namedVersion = 12

export interface ShutTopicsOwner {
  /** The topic cannot be read: its assignments are of no use until `opened`. */
  shut(topic: string): void
  /** The topic has been missing for some time, or a right is missing. Called once until `opened`. */
  isUnreadable(topic: string, error: FetchError): void
  /** The topic can be read again. */
  opened(topic: string): void
  /** Ends reading. */
  fail(error: RxMikaError): void
}

/**
 * Topics that this client has read and cannot read any more, because they were deleted or a right was withdrawn. All others
 * are read on. Checks whether they can be read again, by metadata and, if a right was missing, by a fetch.
 */
export class ShutTopics {
  readonly #seen = new Set<string>()
  readonly #missingSince = new Map<string, number>()
  readonly #shut = new Map<string, 'gone' | 'forbidden'>()
  readonly #reported = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #ended = false

  constructor(
    readonly cluster: Cluster,
    readonly clock: Clock,
    readonly owner: ShutTopicsOwner,
  ) {}

  has(topic: string): boolean {
    return this.#shut.has(topic)
  }

  /** Whether the topic is shut because the brokers do not know it any more. */
  isGone(topic: string): boolean {
    return this.#shut.get(topic) === 'gone'
  }

  /** The topic is not to be read any more. */
  forget(topic: string): void {
    this.#seen.delete(topic)
    this.#missingSince.delete(topic)
    this.#shut.delete(topic)
    this.#reported.delete(topic)
  }

  /** Called whenever metadata was received. */
  onMetadata(topics: readonly string[]): void {
    for (const topic of topics) {
      const known = this.cluster.topic(topic)
      if (known === undefined) continue
      const { error, partitions } = known
      if (error === undefined && partitions.length > 0) this.#isThere(topic)
      else if (!this.#seen.has(topic)) continue
      else if (error?.name === 'UNKNOWN_TOPIC_OR_PARTITION') this.#isMissing(topic)
      else if (error?.name === 'TOPIC_AUTHORIZATION_FAILED') this.forbidden(topic)
    }
  }

  #isThere(topic: string): void {
    this.#seen.add(topic)
    this.#missingSince.delete(topic)
    // A topic that may be seen may still be forbidden to read.
    if (this.#shut.get(topic) === 'gone') this.#open(topic)
  }

  #isMissing(topic: string): void {
    const now = this.clock.monotonic()
    const since = this.#missingSince.get(topic) ?? now
    this.#missingSince.set(topic, since)
    if (now - since >= giveUpAfter && this.#shut.get(topic) !== 'gone') {
      this.#shut.set(topic, 'gone')
      this.owner.shut(topic)
    }
    if (now - since < reportAfter || this.#reported.has(topic)) return
    const message = `topic '${topic}' is gone: the brokers do not know it any more; it is read from its beginning once it is made again`
    this.#report(topic, new FetchError(message, { topic }))
  }

  /** A broker refused a request for the topic because a right is missing. */
  forbidden(topic: string): void {
    if (this.#shut.has(topic)) return
    this.#shut.set(topic, 'forbidden')
    this.owner.shut(topic)
    this.#report(topic, new FetchError(`${cannotReadTopic([topic])}; it is read again once it may be`, { topic }))
    this.#tryLater()
  }

  #report(topic: string, error: FetchError): void {
    this.#reported.add(topic)
    this.owner.isUnreadable(topic, error)
  }

  #open(topic: string): void {
    this.#shut.delete(topic)
    this.#reported.delete(topic)
    this.owner.opened(topic)
  }

  #tryLater(): void {
    if (this.#ended || this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#tryAll().catch(cause => this.owner.fail(unexpected(cause)))
    }, tryAgain)
  }

  async #tryAll(): Promise<void> {
    const forbidden = [...this.#shut].filter(([, why]) => why === 'forbidden').map(([topic]) => topic)
    await Promise.all(forbidden.map(topic => this.#try(topic)))
    if ([...this.#shut.values()].includes('forbidden')) this.#tryLater()
  }

  /** Fetches from a leader. Only a missing right matters, not whether there is a record or an answer. */
  async #try(topic: string): Promise<void> {
    const partition = this.cluster.topic(topic)?.partitions.findIndex(({ leader }) => leader >= 0) ?? -1
    if (partition < 0) return
    const leader = this.cluster.leaderOf(topic, partition)!
    const partitions = [{ partition, fetchOffset: 0, partitionMaxBytes: 1 }]
    const request = { maxWaitMs: 0, minBytes: 0, maxBytes: 1, topics: [{ topic, partitions }] }
    try {
      const { responses } = await this.cluster.ask(leader, 'control', fetch, request, { maxVersion: namedVersion })
      const code = responses[0]?.partitions[0]?.errorCode
      const isAllowed = code !== undefined && !kafkaError(code).has('notAuthorized')
      if (isAllowed && this.#shut.get(topic) === 'forbidden') this.#open(topic)
    } catch {
      // It will be tried again, and unreachable brokers are reported by other means.
    }
  }

  end(): void {
    this.#ended = true
    clearTimeout(this.#timer)
  }
}
