import {
  type Consumer,
  type ConsumerCrashEvent,
  type ConsumerGroupJoinEvent,
  type Kafka,
  PartitionAssigners,
} from 'kafkajs'
import type { CommitPoint } from '../../commit-point.js'
import { absentBroker } from './absent-broker.js'
import { Coordinator, mayHaveMoved } from './coordinator.js'
import { DeadlineError, pass, within } from './deadline.js'
import type { LazyFetchOptions } from './decoding/lazy-decoding.js'
import { decodeLazily } from './decoding/lazy-fetch.js'
import { Doorbell } from './doorbell.js'
import { GuardedCluster, openCluster } from './guarded-cluster.js'
import { joinAgain } from './join-again.js'
import type { Broker, Cluster, FetchRequest, FetchResponse, HeartbeatRequest } from './kafkajs-internals.js'
import { errorType, isConnectionFailure, isNotAuthorized, isRefusal, isRetriable } from './protocol-error.js'
import { retry } from './retry-settings.js'
import { type Ownership, stickyAssigner } from './sticky-assigner.js'
import type { TopicPartition } from './sticky-assignment.js'

export interface MemberSettings {
  readonly groupId: string
  readonly topics: readonly string[]
  readonly rebalanceTimeout: number
  readonly sessionTimeout: number
  readonly heartbeatInterval: number
}

/** What a member tells and asks of its owner. None of these may throw. */
export interface MemberOwner {
  /** Awaited before every attempt to join: what is held may go to others after. */
  givingUp(): Promise<void>
  ownership(): Ownership
  joined(partitions: readonly TopicPartition[]): void
  /** The group went on without this member. */
  kicked(error: unknown): void
  /** Answers kafkajs's fetch, by way of `send`. */
  fetch(request: FetchRequest, send: (request: FetchRequest) => Promise<FetchResponse>): Promise<FetchResponse>
  /** How to decode lazily; undefined: kafkajs decodes. */
  readonly lazily: LazyFetchOptions | undefined
  answered(): void
  unanswered(error: unknown): void
  crashed(error: unknown): void
}

/** How this member is known to its group; another with every rebalance. */
interface Membership {
  readonly memberId: string
  readonly generation: number
}

/** How long one request may take before its outcome is taken for unknown, ms. */
const requestTimeout = 10_000
const leaveTimeout = 3_000
const forcedLeaveTimeout = 2_000
/** A broker answers a fetch within 100 ms, or is away; a frozen one keeps its connections. */
const fetchOverdue = 5_000

/**
 * One kafkajs consumer, from its first join to its crash or `leave`. It fetches what its owner says, from where its
 * owner says; kafkajs's part are connections, the group's protocol, and when to fetch from which broker.
 */
export class GroupMember {
  readonly #consumer: Consumer
  #guarded!: GuardedCluster
  #coordinator!: Coordinator
  readonly #heartbeats = new WeakMap<Broker, Broker['heartbeat']>()
  #membership: Membership | undefined
  /** From the moment kafkajs goes to join until it has: no commit passes in between. */
  #joining = true
  #joinAnswered: Promise<unknown> | undefined
  /** By which the group knows us, from before it has answered our request to join. */
  #memberId: string | undefined
  readonly #named = new Doorbell()
  /** When the group last knew us, by our own clock. */
  #lastContact = Date.now()
  #ended = false

  constructor(
    readonly kafka: Kafka,
    readonly settings: MemberSettings,
    readonly owner: MemberOwner,
  ) {
    const { groupId, sessionTimeout, heartbeatInterval, rebalanceTimeout } = settings
    const assigner = stickyAssigner(() => owner.ownership())
    this.#consumer = kafka.consumer({
      groupId,
      sessionTimeout,
      heartbeatInterval,
      // A rebalance is noticed with the next heartbeat only, and joining takes time too.
      rebalanceTimeout: rebalanceTimeout + heartbeatInterval + 2_000,
      partitionAssigners: [
        context => {
          this.#hookInto(context.cluster as unknown as Cluster)
          return assigner(context)
        },
        // What plain kafkajs members speak: the protocol of a mixed group.
        PartitionAssigners.roundRobin,
      ],
      // 64 KiB is faster than kafkajs's 1 MiB and holds a sixteenth of the memory.
      maxBytesPerPartition: 64 * 1024,
      maxWaitTimeInMs: 100,
      allowAutoTopicCreation: true,
      // Restarting is ours: kafkajs's own goes on with stale assignments.
      retry: { ...retry, restartOnFailure: async () => false },
    })
    this.#consumer.on('consumer.group_join', event => this.#joined(event))
    this.#consumer.on('consumer.crash', event => this.#crashed(event))
  }

  #hookInto(cluster: Cluster): void {
    this.#guarded = new GuardedCluster(cluster, error => this.owner.unanswered(error))
    const findGroupCoordinator = cluster.findGroupCoordinator.bind(cluster)
    const findBroker = cluster.findBroker.bind(cluster)
    this.#coordinator = new Coordinator(this.settings.groupId, cluster, findGroupCoordinator)
    cluster.findBroker = async node => {
      try {
        return await findBroker(node)
      } catch (error) {
        if (this.#ended || !isConnectionFailure(error)) throw error
        this.owner.unanswered(error)
        return absentBroker(node.nodeId, error)
      }
    }
    // kafkajs asks for the coordinator each time it is about to join, and at no other time: the place to give up.
    cluster.findGroupCoordinator = async group => {
      if (!this.#ended) {
        await this.owner.givingUp()
        this.#joining = true
      }
      return this.#findCoordinator(group)
    }
    const createBroker = cluster.brokerPool.createBroker
    cluster.brokerPool.createBroker = options => this.#watch(createBroker(options))
  }

  /** Looks for the coordinator until there is one; kafkajs gives up on many an error that heals. */
  async #findCoordinator(group: { groupId: string }): Promise<Broker> {
    for (;;) {
      try {
        return await this.#coordinator.findGroupCoordinator(group)
      } catch (error) {
        if (this.#ended || isRefusal(error) || isNotAuthorized(error)) throw error
        if (!isConnectionFailure(error) && !isRetriable(error)) throw error
        this.owner.unanswered(error)
        await pass(retry.maxRetryTime)
        await this.cluster.refreshMetadata().catch(() => {})
      }
    }
  }

  #watch(broker: Broker): Broker {
    if (this.owner.lazily !== undefined) decodeLazily(broker, this.owner.lazily)
    const joinGroup = broker.joinGroup.bind(this.#overheard(broker))
    broker.joinGroup = async request => {
      // The group would wait for a member that asks to join again while it leaves.
      if (this.#ended) throw new Error('the member has left its group')
      try {
        // kafkajs forgets the id that a newcomer was given when the answer to its joining is lost. Under a new one it
        // would wait, as long as a rebalance may take, for the member it was.
        const answer = joinGroup({ ...request, memberId: request.memberId || this.#memberId || '' })
        this.#joinAnswered = answer
        const joined = await answer
        this.#contact()
        const { memberId, generationId: generation } = joined
        if (this.#membership !== undefined && this.#membership.memberId !== memberId) {
          this.owner.kicked(new Error(`the group knows this member by a new id, ${memberId}`))
        }
        this.#membership = { memberId, generation }
        this.#coordinator.is(broker)
        return joined
      } catch (error) {
        if (errorType(error) === 'UNKNOWN_MEMBER_ID') {
          this.#memberId = undefined
          this.owner.kicked(error)
        }
        throw joinAgain(error)
      }
    }
    const syncGroup = broker.syncGroup.bind(broker)
    broker.syncGroup = async request => {
      try {
        return await syncGroup(request)
      } catch (error) {
        throw joinAgain(error)
      }
    }

    // kafkajs asks the coordinator it knew when it joined.
    this.#heartbeats.set(broker, broker.heartbeat.bind(broker))
    broker.heartbeat = request => this.#beat(request)

    const fetch = broker.fetch.bind(broker)
    broker.fetch = request => {
      if (this.#ended) return Promise.resolve({ responses: [] })
      return this.owner.fetch(request, async planned => {
        const overdue = setTimeout(() => this.owner.unanswered(late), fetchOverdue)
        try {
          const response = await fetch(planned)
          this.owner.answered()
          return response
        } catch (error) {
          if (isConnectionFailure(error)) this.owner.unanswered(error)
          else this.owner.answered()
          throw error
        } finally {
          clearTimeout(overdue)
        }
      })
    }
    return broker
  }

  /**
   * A newcomer is given an id first, and asks again by that; kafkajs does both in one call, and the second answer takes
   * as long as others need to let go. By the id it can leave meanwhile.
   */
  #overheard(broker: Broker): Broker {
    const lookupRequest: Broker['lookupRequest'] = (apiKey, definitions) => {
      const protocol = broker.lookupRequest(apiKey, definitions)
      return request => {
        const { memberId } = request as { memberId?: string }
        if (memberId) this.#memberId = memberId
        this.#named.ring()
        if (this.#ended) throw new Error('the member has left its group')
        return protocol(request)
      }
    }
    return Object.create(broker, { lookupRequest: { value: lookupRequest } })
  }

  #contact(): void {
    this.#lastContact = Date.now()
    this.owner.answered()
  }

  /** kafkajs's heartbeat; what it throws ends the fetching, and most of what it can throw has kafkajs join again. */
  async #beat(request: HeartbeatRequest): Promise<unknown> {
    const membership = this.#membership
    try {
      const answer = await this.#coordinator.ask(broker => this.#heartbeats.get(broker)!(request))
      this.#contact()
      return answer
    } catch (error) {
      // A coordinator that is away or elsewhere is looked for, and fetching goes on meanwhile.
      if (mayHaveMoved(error)) {
        if (isConnectionFailure(error)) this.owner.unanswered(error)
        return undefined
      }
      // A heartbeat of before a join can be answered after it; what it says is about a generation that is over.
      if (membership === this.#membership && !this.#joining) this.#verdict(error)
      throw error
    }
  }

  #verdict(error: unknown): void {
    const type = errorType(error)
    if (type !== undefined) this.owner.answered()
    if (type === 'REBALANCE_IN_PROGRESS') this.#contact()
    else if (type !== undefined && kickedTypes.has(type)) {
      if (type === 'UNKNOWN_MEMBER_ID') this.#memberId = undefined
      this.owner.kicked(error)
    }
  }

  #joined({ payload }: ConsumerGroupJoinEvent): void {
    if (this.#ended) return
    this.#joining = false
    const partitions = Object.entries(payload.memberAssignment).flatMap(([topic, numbers]) =>
      numbers.map(partition => ({ topic, partition })),
    )
    // kafkajs would ask for the positions too, and fetch nothing before it knows them. They are the owner's.
    const known = this.#guarded.cluster.committedOffsets({ groupId: this.settings.groupId })
    for (const { topic, partition } of partitions) {
      known[topic] ??= {}
      known[topic][partition] = '0'
    }
    this.owner.joined(partitions)
  }

  #crashed({ payload }: ConsumerCrashEvent): void {
    if (this.#ended) return
    void this.end()
    this.owner.crashed(payload.error)
  }

  /** Joins, and rejects with what keeps it from that for good. */
  async start(): Promise<void> {
    await this.#consumer.connect()
    await this.#consumer.subscribe({ topics: [...this.settings.topics] })
    await this.#consumer.run({ autoCommit: false, eachBatch: async () => {} })
  }

  get cluster(): Cluster {
    return this.#guarded.cluster
  }

  get generation(): number {
    return this.#membership?.generation ?? -1
  }

  get joining(): boolean {
    return this.#joining
  }

  get ended(): boolean {
    return this.#ended
  }

  /** True: the session may be over, and others may have what we hold. Only a heartbeat can tell. */
  get doubtful(): boolean {
    return Date.now() - this.#lastContact > this.settings.sessionTimeout
  }

  ask<T>(request: (coordinator: Broker) => Promise<T>): Promise<T> {
    return this.#coordinator.ask(request)
  }

  /** Tells the group that we live, and learns whether it still knows us. Rejects when it does not, or does not answer. */
  async heartbeat(): Promise<void> {
    const membership = this.#membership
    if (membership === undefined) return
    const { memberId, generation } = membership
    const request = { groupId: this.settings.groupId, memberId, groupGenerationId: generation }
    try {
      const beat = this.#coordinator.ask(broker => this.#heartbeats.get(broker)!(request))
      await within(requestTimeout, beat, 'the heartbeat')
      this.#contact()
    } catch (error) {
      if (membership === this.#membership && !this.#joining) this.#verdict(error)
      if (errorType(error) !== 'REBALANCE_IN_PROGRESS') throw error
    }
  }

  async commit(points: readonly CommitPoint[]): Promise<void> {
    const { memberId, generation } = this.#membership!
    const topics = new Map<string, { partition: number; offset: string; metadata: string | null }[]>()
    for (const { topic, partition, offset, metadata } of points) {
      const partitions = topics.get(topic) ?? []
      topics.set(topic, partitions)
      partitions.push({ partition, offset: String(offset), metadata: metadata ?? null })
    }
    const sent = this.#coordinator.ask(broker =>
      broker.offsetCommit({
        groupId: this.settings.groupId,
        memberId,
        groupGenerationId: generation,
        topics: [...topics].map(([topic, partitions]) => ({ topic, partitions })),
      }),
    )
    await within(requestTimeout, sent, 'the commit')
    this.#contact()
  }

  /** Leaves the group and closes the connections; bounded, whatever the brokers do. */
  async leave({ deleteGroup }: { readonly deleteGroup: boolean }): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    const stopped = this.#consumer.stop()
    if (this.#joining) {
      // kafkajs waits for the end of a later join, and forgets a first one: a member that went while the group waits for
      // it keeps the others waiting for a whole rebalance time-out.
      stopped.catch(() => {})
      await this.#leaveWhileJoining()
    } else {
      await within(leaveTimeout, stopped, 'leaving the group').catch(() => this.#leaveByForce())
    }
    if (deleteGroup) await this.#deleteGroup()
    this.#coordinator.end()
    await this.#guarded.end()
  }

  async #deleteGroup(): Promise<void> {
    if (this.#membership === undefined) return
    const deleted = this.#coordinator.ask(broker => broker.deleteGroups([this.settings.groupId]))
    await within(1_000, deleted, 'deleting the group').catch(() => {})
  }

  async #leaveWhileJoining(): Promise<void> {
    if (this.#membership === undefined && this.#memberId === undefined && this.#joinAnswered !== undefined) {
      const named = () => this.#named.ring()
      this.#joinAnswered.then(named, named)
      await this.#named.wait(leaveTimeout)
    }
    await this.#leaveByForce()
  }

  /**
   * Over a connection of its own: on the member's own a broker reads nothing before it has answered the request to join,
   * and kafkajs nothing while it waits.
   */
  async #leaveByForce(): Promise<void> {
    const memberId = this.#membership?.memberId ?? this.#memberId
    if (memberId === undefined) return
    const { groupId } = this.settings
    const guarded = openCluster(this.kafka)
    const leaving = async () => {
      await guarded.cluster.connect()
      const coordinator = await guarded.cluster.findGroupCoordinator({ groupId })
      await coordinator.leaveGroup({ groupId, memberId })
    }
    await within(forcedLeaveTimeout, leaving(), 'leaving the group').catch(() => {})
    await guarded.end()
  }

  /** After a crash. kafkajs leaves the group then only if it had fetched: others would wait for a member that is none. */
  async end(): Promise<void> {
    this.#ended = true
    this.#coordinator.end()
    await Promise.all([this.#leaveByForce(), this.#guarded.end()])
  }
}

const late = new DeadlineError(`a fetch was not answered within ${fetchOverdue} ms`)

const kickedTypes = new Set(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID'])
