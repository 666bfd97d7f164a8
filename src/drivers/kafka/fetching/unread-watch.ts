import { FetchError } from '../../../errors.js'
import { partitionName } from '../../../place.js'
import { RepeatLimit } from '../repeat-limit.js'
import type { Assignment } from './assignment.js'
import type { Fetching } from './fetching.js'

/** The interval of checks, ms. */
const checkEvery = 1_000
/** A partition is reported after this many checks in a row without an answer for it. */
const maxMissedChecks = 10
/** The same partition is reported at most this often, ms. */
const reportEvery = 60_000
/** The maximum number of partitions named in one report. */
const maxNamed = 5

/**
 * Reports partitions that should be read and are not, whatever the reason: a leader that refuses or does not answer, or a
 * group that does not say whether this member still has them.
 *
 * It counts checks instead of time, because a suspended process sends no requests.
 */
export class UnreadWatch {
  readonly #missedChecks = new Map<Assignment, number>()
  readonly #limit = new RepeatLimit(reportEvery)
  readonly #timer: NodeJS.Timeout

  constructor(readonly fetching: Fetching) {
    this.#timer = setInterval(() => this.#check(), checkEvery).unref()
  }

  end(): void {
    clearInterval(this.#timer)
  }

  #check(): void {
    const unread = new Map<string, Assignment[]>()
    for (const assignment of this.#missedChecks.keys()) {
      if (this.fetching.assignments.get(assignment) !== assignment) this.#missedChecks.delete(assignment)
    }
    for (const assignment of this.fetching.assignments.values()) {
      const missed = this.#isUnanswered(assignment) ? (this.#missedChecks.get(assignment) ?? 0) + 1 : 0
      this.#missedChecks.set(assignment, missed)
      assignment.answered = false
      if (missed < maxMissedChecks || !this.#limit.allows(partitionName(assignment))) continue
      const why = this.#reason(assignment)
      const others = unread.get(why)
      if (others === undefined) unread.set(why, [assignment])
      else others.push(assignment)
    }
    for (const [why, assignments] of unread) this.#report(why, assignments)
  }

  /** Whether a broker should have answered for it since the last check, and none has. */
  #isUnanswered(assignment: Assignment): boolean {
    const { paused, ended, resting, answered } = assignment
    if (paused || ended || resting || answered) return false
    // A topic that is gone, a partition without a leader, and an outage of all brokers are reported as such.
    if (this.fetching.host.cluster.topic(assignment.topic)?.error !== undefined) return false
    if (this.fetching.nodeOf(assignment) === undefined) return false
    return this.fetching.host.cluster.isConnected && !this.fetching.isThrottled(assignment)
  }

  #reason(assignment: Assignment): string {
    const { host } = this.fetching
    if (!host.delivering) return 'the group has not answered for longer than a session; others may have it'
    return assignment.refusal ?? 'its leader does not answer'
  }

  #report(why: string, assignments: readonly Assignment[]): void {
    const named = assignments.slice(0, maxNamed).map(each => `${partitionName(each)}@${each.next}`)
    const more = assignments.length > maxNamed ? ` and ${assignments.length - maxNamed} more` : ''
    const message = `${named.join(', ')}${more} cannot be read for ${(maxMissedChecks * checkEvery) / 1_000} s: ${why}; it is tried again`
    const { topic, partition, next } = assignments[0]!
    const error = new FetchError(message, { topic, partition, offset: BigInt(next) })
    this.fetching.host.emit({ type: 'trouble', error })
  }
}
