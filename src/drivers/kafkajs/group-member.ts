import {
  type Consumer,
  type ConsumerCrashEvent,
  type ConsumerGroupJoinEvent,
  type Kafka,
  PartitionAssigners,
} from 'kafkajs'
import { absentBroker } from './absent-broker.js'
import { Coordinator } from './coordinator.js'
import { DeadlineError, pass, within } from './deadline.js'
import type { LazyFetchOptions } from './decoding/lazy-decoding.js'
import { decodeLazily } from './decoding/lazy-fetch.js'
import { leaveByForce } from './forced-leave.js'
import { GivenId } from './given-id.js'
import { GroupSession } from './group-session.js'
import { GuardedCluster } from './guarded-cluster.js'
import { joinAgain } from './join-again.js'
import type { Broker, Cluster, FetchRequest, FetchResponse } from './kafkajs-internals.js'
import { LeaderWatch } from './leader-watch.js'
import { errorType, isConnectionFailure, isNotAuthorized, isRefusal, isRetriable } from './protocol-error.js'
import type { Reachability } from './reachability.js'
import type { Send } from './reader.js'
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
  /** What answers kafkajs's fetches from one broker, by way of `send`. */
  reading(send: Send): (request: FetchRequest) => Promise<FetchResponse>
  /** How to decode lazily; undefined: kafkajs decodes. */
  readonly lazily: LazyFetchOptions | undefined
  answered(): void
  unanswered(error: unknown): void
  /** The group was in doubt, and knows this member still. */
  confirmed(): void
  crashed(error: unknown): void
}

const leaveTimeout = 3_000
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
  #leaders!: LeaderWatch
  #session!: GroupSession
  readonly #given = new GivenId()
  #ended = false

  constructor(
    readonly kafka: Kafka,
    readonly settings: MemberSettings,
    readonly owner: MemberOwner,
    readonly reachability: Reachability,
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
      maxWaitTimeInMs: 100,
      allowAutoTopicCreation: true,
      // Restarting is ours: kafkajs's own goes on with stale assignments.
      retry: { ...retry, restartOnFailure: async () => false },
    })
    this.#consumer.on('consumer.group_join', event => this.#joined(event))
    this.#consumer.on('consumer.crash', event => this.#crashed(event))
  }

  #hookInto(cluster: Cluster): void {
    this.#guarded = new GuardedCluster(cluster, error => this.owner.unanswered(error), this.reachability)
    this.#leaders = new LeaderWatch(cluster, error => this.reachability.report(error))
    // kafkajs swallows what the brokers say to that, also that the group may not be seen, and asks again for ever.
    cluster.findGroupCoordinatorMetadata = async request => {
      const broker = await cluster.brokerPool.findConnectedBroker()
      return await broker.findGroupCoordinator(request)
    }
    const findGroupCoordinator = cluster.findGroupCoordinator.bind(cluster)
    const findBroker = cluster.findBroker.bind(cluster)
    this.#coordinator = new Coordinator(this.settings.groupId, cluster, findGroupCoordinator)
    this.#session = new GroupSession(this.settings.groupId, this.settings.sessionTimeout, this.#coordinator, {
      answered: () => this.owner.answered(),
      unanswered: error => this.owner.unanswered(error),
      confirmed: () => this.owner.confirmed(),
      kicked: error => this.#kicked(error),
    })
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
        this.#session.joining = true
      }
      return this.#findCoordinator(group)
    }
    // Where brokers come or go while kafkajs stops, it begins to fetch anew, and from then on goes round without a pause, in
    // which no timer and no answer ever has its turn. Where there are no brokers it begins nothing.
    const getNodeIds = cluster.getNodeIds.bind(cluster)
    cluster.getNodeIds = () => (this.#ended ? [] : getNodeIds())
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
    const joinGroup = broker.joinGroup.bind(this.#given.overhear(broker, () => this.#ended))
    broker.joinGroup = async request => {
      // The group would wait for a member that asks to join again while it leaves.
      if (this.#ended) throw new Error('the member has left its group')
      try {
        // kafkajs forgets the id that it was given when the answer to its joining is lost. Under a new one it would wait,
        // as long as a rebalance may take, for the member it was.
        const memberId = request.memberId || this.#given.id || ''
        const joined = await this.#given.asked(joinGroup({ ...request, memberId }))
        this.#session.begin({ memberId: joined.memberId, generation: joined.generationId })
        this.#coordinator.is(broker)
        return joined
      } catch (error) {
        if (errorType(error) === 'UNKNOWN_MEMBER_ID') this.#kicked(error)
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

    this.#session.redirectHeartbeats(broker)

    const fetch = broker.fetch.bind(broker)
    const read = this.owner.reading(async planned => {
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
    broker.fetch = request => (this.#ended ? Promise.resolve({ responses: [] }) : read(request))
    return broker
  }

  #kicked(error: unknown): void {
    if (errorType(error) === 'UNKNOWN_MEMBER_ID') this.#given.forget()
    this.owner.kicked(error)
  }

  #joined({ payload }: ConsumerGroupJoinEvent): void {
    if (this.#ended) return
    this.#session.joining = false
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
    this.end().catch(() => {})
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

  get session(): GroupSession {
    return this.#session
  }

  get ended(): boolean {
    return this.#ended
  }

  ask<T>(request: (coordinator: Broker) => Promise<T>): Promise<T> {
    return this.#coordinator.ask(request)
  }

  /** Leaves the group and closes the connections; bounded, whatever the brokers do. */
  async leave({ deleteGroup }: { readonly deleteGroup: boolean }): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    const stopped = this.#consumer.stop()
    if (this.#session.joining) {
      // kafkajs waits for the end of a later join, and forgets a first one: a member that went while the group waits for
      // it keeps the others waiting for a whole rebalance time-out.
      stopped.catch(() => {})
      await this.#given.known(leaveTimeout)
      await this.#leaveByForce()
    } else {
      await within(leaveTimeout, stopped, 'leaving the group').catch(() => this.#leaveByForce())
    }
    if (deleteGroup) await this.#deleteGroup()
    this.#coordinator.end()
    this.#leaders.end()
    await this.#guarded.end()
  }

  async #deleteGroup(): Promise<void> {
    if (this.#session.membership === undefined) return
    const deleted = this.#coordinator.ask(broker => broker.deleteGroups([this.settings.groupId]))
    await within(1_000, deleted, 'deleting the group').catch(() => {})
  }

  async #leaveByForce(): Promise<void> {
    const memberId = this.#given.id ?? this.#session.membership?.memberId
    if (memberId !== undefined) await leaveByForce(this.kafka, this.settings.groupId, memberId)
  }

  /** After a crash. kafkajs leaves the group then only if it had fetched: others would wait for a member that is none. */
  async end(): Promise<void> {
    this.#ended = true
    this.#coordinator.end()
    this.#leaders.end()
    await Promise.all([this.#leaveByForce(), this.#guarded.end()])
  }
}

const late = new DeadlineError(`a fetch was not answered within ${fetchOverdue} ms`)
