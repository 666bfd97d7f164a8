import type { Clock } from '../../../clock.js'
import { kafkaError } from '../../../protocol/errors.js'
import { Backoff, pause } from '../backoff.js'
import type { Cluster } from '../cluster/cluster.js'
import { Coordinator } from '../cluster/coordinator.js'
import type { KnownTopic } from '../cluster/metadata.js'
import type { PartitionMap } from '../topic-partition.js'
import { Admission } from './admission.js'
import { Contact } from './contact.js'
import type { CommittedPosition, MemberOwner, MemberSettings, PositionToCommit } from './member.js'
import { GroupOffsets, type Membership } from './offsets.js'

/** The time-out of a request to leave, ms. */
export const leaveTimeout = 3_000
/** How long a request to leave is retried without an answer, ms. */
const leaveAgain = 1_000
const firstPause = 50
const maxPause = 200

/** A group as one of its members uses it, with either protocol: its coordinator, its last answer, its positions. */
export class Group {
  readonly coordinator: Coordinator
  readonly contact: Contact
  readonly admission: Admission
  readonly #offsets: GroupOffsets

  constructor(
    readonly cluster: Cluster,
    readonly settings: MemberSettings,
    owner: MemberOwner,
    readonly clock: Clock,
  ) {
    const { group, rebalanceTimeout, sessionTimeout } = settings
    this.coordinator = new Coordinator(cluster, group)
    this.contact = new Contact(clock, sessionTimeout, () => owner.confirmed())
    this.admission = new Admission(clock, group, rebalanceTimeout, error => owner.trouble(error))
    this.#offsets = new GroupOffsets(this.coordinator)
  }

  /** Commits the result of `points`, which is called when the request is written; see {@link GroupOffsets.commit}. */
  commit(points: () => readonly PositionToCommit[], membership: () => Membership): Promise<void> {
    return this.#offsets.commit(points, membership)
  }

  committed(
    topics: readonly KnownTopic[],
    membership: () => Membership | undefined,
  ): Promise<PartitionMap<CommittedPosition>> {
    return this.#offsets.committed(topics, membership)
  }

  /**
   * Sends a request to leave, and sends it again if the connection was cut or the coordinator has moved. Otherwise the other
   * members would wait for this member's session to end. Never rejects.
   */
  async leave(send: () => Promise<{ readonly errorCode: number }>): Promise<void> {
    const until = this.clock.monotonic() + leaveAgain
    const wait = new Backoff(firstPause, maxPause)
    for (;;) {
      try {
        const error = kafkaError((await send()).errorCode)
        if (!error.has('coordinatorMoved') && error.name !== 'COORDINATOR_LOAD_IN_PROGRESS') return
      } catch {
        // No answer: the coordinator is looked up again.
      }
      wait.failed()
      if (this.clock.monotonic() + wait.delay >= until) return
      await pause(wait.delay, this.cluster.ended)
      if (this.cluster.ended.aborted) return
    }
  }
}
