import { errorCode } from '../../src/protocol/errors'
import type { heartbeat } from '../../src/protocol/messages/heartbeat'
import type { joinGroup } from '../../src/protocol/messages/join-group'
import type { leaveGroup } from '../../src/protocol/messages/leave-group'
import type { syncGroup } from '../../src/protocol/messages/sync-group'
import type { ReceivedRequestOf, SentResponseOf } from '../../src/protocol/schema/message'

type Join = ReceivedRequestOf<typeof joinGroup>
type Joined = SentResponseOf<typeof joinGroup>
type Sync = ReceivedRequestOf<typeof syncGroup>
type Synced = SentResponseOf<typeof syncGroup>

interface GroupMember {
  readonly id: string
  readonly instanceId: string | null
  join: Join | undefined
  joined: ((answer: Joined) => void) | undefined
  synced: ((answer: Synced) => void) | undefined
}

/** The coordinator of one group of the classic protocol. It has no sessions: only a test removes a member. */
export class ClassicGroup {
  readonly members = new Map<string, GroupMember>()
  readonly #promised = new Set<string>()
  readonly #fenced = new Set<string>()
  generation = 0
  #protocol = ''
  #leader = ''
  #rebalancing = false
  #shares: Sync['assignments'] | undefined
  #ids = 0

  join(request: Join): Joined | Promise<Joined> {
    const { memberId, groupInstanceId } = request
    const before = [...this.members.values()].find(
      ({ instanceId }) => instanceId !== null && instanceId === groupInstanceId,
    )
    if (memberId === '' && groupInstanceId === null) {
      const id = `member-${++this.#ids}`
      this.#promised.add(id)
      return notJoined(errorCode.MEMBER_ID_REQUIRED, id)
    }
    if (this.#fenced.has(memberId)) return notJoined(errorCode.FENCED_INSTANCE_ID, memberId)
    const isKnown = memberId === '' || this.members.has(memberId) || this.#promised.delete(memberId)
    if (!isKnown) return notJoined(errorCode.UNKNOWN_MEMBER_ID, memberId)
    if (before !== undefined && before.id !== memberId) {
      this.members.delete(before.id)
      this.#fenced.add(before.id)
    }
    const id = memberId === '' ? `member-${++this.#ids}` : memberId
    const member = this.members.get(id) ?? {
      id,
      instanceId: groupInstanceId,
      join: undefined,
      joined: undefined,
      synced: undefined,
    }
    this.members.set(id, member)
    this.#rebalancing = true
    return new Promise(resolve => {
      member.join = request
      member.joined = resolve
      this.#joinedAll()
    })
  }

  #joinedAll(): void {
    const members = [...this.members.values()]
    if (!this.#rebalancing || members.length === 0 || members.some(({ joined }) => joined === undefined)) return
    this.#rebalancing = false
    this.generation++
    this.#shares = undefined
    this.#leader = members[0]!.id
    this.#protocol = members[0]!.join!.protocols[0]!.name
    for (const { id, joined } of members) {
      joined!({
        errorCode: 0,
        generationId: this.generation,
        protocolType: 'consumer',
        protocolName: this.#protocol,
        leader: this.#leader,
        memberId: id,
        members: id === this.#leader ? members.map(member => this.#seen(member)) : [],
      })
    }
    for (const member of members) {
      member.joined = undefined
      member.synced = undefined
    }
  }

  #seen({ id, instanceId, join }: GroupMember) {
    const { metadata } = join!.protocols.find(({ name }) => name === this.#protocol)!
    return { memberId: id, groupInstanceId: instanceId, metadata }
  }

  sync(request: Sync): Synced | Promise<Synced> {
    const code = this.#check(request.memberId, request.generationId)
    if (code !== 0) return { errorCode: code, assignment: Buffer.alloc(0) }
    return new Promise(resolve => {
      this.members.get(request.memberId)!.synced = resolve
      if (request.memberId === this.#leader) this.#shares = request.assignments
      if (this.#shares === undefined) return
      for (const { id, synced } of this.members.values()) {
        synced?.({
          errorCode: 0,
          protocolType: 'consumer',
          protocolName: this.#protocol,
          assignment: this.#shares.find(({ memberId }) => memberId === id)?.assignment ?? Buffer.alloc(0),
        })
      }
    })
  }

  /** Member ids that were given to joining members and not used yet. */
  get promised(): ReadonlySet<string> {
    return this.#promised
  }

  /** Whether the group waits for its members to join again. */
  get rebalancing(): boolean {
    return this.#rebalancing
  }

  heartbeat({ memberId, generationId }: ReceivedRequestOf<typeof heartbeat>): SentResponseOf<typeof heartbeat> {
    return { errorCode: this.#check(memberId, generationId) }
  }

  leave({ members }: ReceivedRequestOf<typeof leaveGroup>): SentResponseOf<typeof leaveGroup> {
    for (const { memberId } of members) {
      this.#promised.delete(memberId)
      this.kick(memberId)
    }
    return { errorCode: 0, members: members.map(each => ({ ...each, errorCode: 0 })) }
  }

  /** Removes the member, as after a session without a heartbeat. */
  kick(memberId: string): void {
    if (!this.members.delete(memberId)) return
    this.rebalance()
  }

  /** Makes all members join again. */
  rebalance(): void {
    this.#rebalancing = true
    for (const { synced } of this.members.values()) {
      synced?.({ errorCode: errorCode.REBALANCE_IN_PROGRESS, assignment: Buffer.alloc(0) })
    }
    this.#joinedAll()
  }

  /** Whether a commit of this member is accepted: until the next generation begins. */
  commitCode(memberId: string, generation: number): number {
    const code = this.#check(memberId, generation)
    return code === errorCode.REBALANCE_IN_PROGRESS ? 0 : code
  }

  #check(memberId: string, generation: number): number {
    if (this.#fenced.has(memberId)) return errorCode.FENCED_INSTANCE_ID
    if (!this.members.has(memberId)) return errorCode.UNKNOWN_MEMBER_ID
    if (generation !== this.generation) return errorCode.ILLEGAL_GENERATION
    return this.#rebalancing ? errorCode.REBALANCE_IN_PROGRESS : 0
  }
}

function notJoined(code: number, memberId: string): Joined {
  return { errorCode: code, generationId: -1, protocolName: '', leader: '', memberId, members: [] }
}
