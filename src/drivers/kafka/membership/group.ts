import type { Clock } from '../../../clock.js'
import type { Cluster } from '../cluster/cluster.js'
import type { KnownTopic } from '../cluster/metadata.js'
import type { PartitionMap } from '../topic-partition.js'
import { Admission } from './admission.js'
import { Contact } from './contact.js'
import { Coordinator } from './coordinator.js'
import type { CommittedPosition, MemberOwner, MemberSettings, PositionToCommit } from './member.js'
import { GroupOffsets, type Membership } from './offsets.js'

/** A group as one of its members sees it, by whichever protocol: who coordinates it, when it last answered, its positions. */
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

  /** Commits what `points` gives when the request is written; see {@link GroupOffsets.commit}. A sign of life. */
  async commit(points: () => readonly PositionToCommit[], membership: () => Membership): Promise<void> {
    const sent = this.contact.now()
    await this.#offsets.commit(points, membership)
    this.contact.answered(sent)
  }

  committed(
    topics: readonly KnownTopic[],
    membership: () => Membership | undefined,
  ): Promise<PartitionMap<CommittedPosition>> {
    return this.#offsets.committed(topics, membership)
  }
}
