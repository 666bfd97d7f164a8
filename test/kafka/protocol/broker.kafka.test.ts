import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { kafkaError } from '../../../src/protocol/errors.js'
import { apiVersions } from '../../../src/protocol/messages/api-versions.js'
import { consumerGroupDescribe } from '../../../src/protocol/messages/consumer-group-describe.js'
import { consumerGroupHeartbeat, memberEpoch } from '../../../src/protocol/messages/consumer-group-heartbeat.js'
import {
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from '../../../src/protocol/messages/consumer-protocol.js'
import { describeGroups } from '../../../src/protocol/messages/describe-groups.js'
import { fetch } from '../../../src/protocol/messages/fetch.js'
import {
  coordinatorType,
  findCoordinator,
  findOneCoordinator,
  foundCoordinator,
} from '../../../src/protocol/messages/find-coordinator.js'
import { heartbeat } from '../../../src/protocol/messages/heartbeat.js'
import { type InitProducerIdResponse, initProducerId } from '../../../src/protocol/messages/init-producer-id.js'
import { joinGroup } from '../../../src/protocol/messages/join-group.js'
import { leaveGroup, leaveOneMember, leftErrorCode } from '../../../src/protocol/messages/leave-group.js'
import { EARLIEST, LATEST, listOffsets } from '../../../src/protocol/messages/list-offsets.js'
import { metadata } from '../../../src/protocol/messages/metadata.js'
import { offsetCommit } from '../../../src/protocol/messages/offset-commit.js'
import { committedOffsets, fetchCommittedOffsets, offsetFetch } from '../../../src/protocol/messages/offset-fetch.js'
import { offsetForLeaderEpoch } from '../../../src/protocol/messages/offset-for-leader-epoch.js'
import { ACKS_ALL, produce } from '../../../src/protocol/messages/produce.js'
import { syncGroup } from '../../../src/protocol/messages/sync-group.js'
import { readPartitionRecords } from '../../../src/protocol/records/partition-records.js'
import { type EncodableRecord, encodeRecordBatch } from '../../../src/protocol/records/record-batch-encoder.js'
import { ZERO_UUID } from '../../../src/protocol/wire/uuid.js'
import { createTopic } from '../create-topic'
import { describeOwnKafka } from '../describe-kafka'
import { type KafkaServer, startKafka } from '../kafka-server'
import { RawConnection } from './raw-connection'

const none = 'NONE (0)'
const shown = (code: number) => `${kafkaError(code)}`

describeOwnKafka('a broker understands', () => {
  let server: KafkaServer
  let broker: RawConnection
  const topic = 'spoken'
  let topicId = ''
  beforeAll(async () => {
    server = await startKafka()
    await createTopic({ brokers: server.brokers }, { topic, numPartitions: 2 })
    broker = await RawConnection.to(server.brokers[0]!)
    topicId = (await ask()).topics[0]!.topicId
  })
  afterAll(async () => {
    broker?.end()
    await server?.stop()
  })

  const ask = (version = broker.newest(metadata)) =>
    broker.ask(
      metadata,
      { topics: [{ name: topic }], ...(version >= 4 ? { allowAutoTopicCreation: false } : {}) },
      version,
    )

  async function groupId(): Promise<string> {
    const group = `group-${randomUUID()}`
    const version = broker.newest(findCoordinator)
    // The broker creates the offsets topic at the first request for a coordinator.
    for (;;) {
      const request = findOneCoordinator(group, coordinatorType.group, version)
      const found = foundCoordinator(await broker.ask(findCoordinator, request, version), group, version)!
      if (!kafkaError(found.errorCode).has('retriable')) {
        expect(shown(found.errorCode)).toBe(none)
        return group
      }
    }
  }

  /** A broker that has just started answers that it is loading. */
  async function newProducer(version: number): Promise<InitProducerIdResponse> {
    for (;;) {
      const response = await broker.ask(initProducerId, {}, version)
      if (kafkaError(response.errorCode).has('retriable')) continue
      expect(shown(response.errorCode)).toBe(none)
      expect(response.producerId).toBeGreaterThanOrEqual(0n)
      return response
    }
  }

  it('ApiVersions in every version', async () => {
    for (const version of broker.versionsOf(apiVersions)) {
      const client = version >= 3 ? { clientSoftwareName: 'rxmika', clientSoftwareVersion: '1' } : {}
      const response = await broker.ask(apiVersions, client, version)
      expect(shown(response.errorCode)).toBe(none)
      expect(response.apiKeys.length).toBeGreaterThan(30)
    }
  })

  it('Metadata in every version, by name and by id, without creating the requested topics', async () => {
    for (const version of broker.versionsOf(metadata)) {
      const { brokers, topics } = await ask(version)
      expect(brokers.length, `version ${version}`).toBe(1)
      expect(topics[0]).toMatchObject({ errorCode: 0, name: topic })
      expect(topics[0]!.partitions.map(({ partitionIndex, leaderId }) => [partitionIndex, leaderId])).toEqual(
        [0, 1].map(partition => [partition, brokers[0]!.nodeId]),
      )
      expect(topics[0]!.partitions[0]!.leaderEpoch).toBe(version >= 7 ? 0 : -1)
      expect(topics[0]!.topicId).toBe(version >= 10 ? topicId : ZERO_UUID)
    }
    const version = broker.newest(metadata)
    const byId = await broker.ask(
      metadata,
      { topics: [{ topicId, name: null }], allowAutoTopicCreation: false },
      version,
    )
    expect(byId.topics[0]).toMatchObject({ errorCode: 0, name: topic, topicId })
    const missing = () =>
      broker.ask(metadata, { topics: [{ name: 'missing' }], allowAutoTopicCreation: false }, version)
    for (let i = 0; i < 2; i++) {
      expect(shown((await missing()).topics[0]!.errorCode)).toBe('UNKNOWN_TOPIC_OR_PARTITION (3)')
    }
  })

  it('FindCoordinator in every version', async () => {
    const group = await groupId()
    for (const version of broker.versionsOf(findCoordinator)) {
      const request = findOneCoordinator(group, coordinatorType.group, version)
      const found = foundCoordinator(await broker.ask(findCoordinator, request, version), group, version)
      expect(found, `version ${version}`).toMatchObject({ errorCode: 0 })
      expect(`${found!.host}:${found!.port}`).toBe(server.brokers[0])
    }
  })

  it('InitProducerId, Produce, ListOffsets, OffsetForLeaderEpoch and Fetch in every version', async () => {
    let identity = await newProducer(broker.newest(initProducerId))
    for (const version of broker.versionsOf(initProducerId)) identity = await newProducer(version)
    const { producerId, producerEpoch } = identity
    // No timestamp, and one before 1970, as producers in other languages may write them.
    const timestamps = [1_700_000_000_000, -1, 0, -5]
    let written = 0
    for (const version of broker.versionsOf(produce)) {
      const records = timestamps.map(
        (timestamp, i): EncodableRecord => ({
          key: null,
          value: Buffer.from(`${version}.${i}`),
          headers: [
            ['constructor', null],
            ['', Buffer.from('empty name')],
          ],
          timestamp,
        }),
      )
      const batch = encodeRecordBatch(records, { producerId, epoch: producerEpoch, first: written })
      const partitionData = [{ index: 0, records: batch }]
      const topicData = [version >= 13 ? { topicId, partitionData } : { name: topic, partitionData }]
      const { responses } = await broker.ask(produce, { acks: ACKS_ALL, timeoutMs: 5_000, topicData }, version)
      expect(responses[0]!.partitionResponses[0]).toMatchObject({ errorCode: 0, baseOffset: written })
      written += records.length
    }
    for (const version of broker.versionsOf(listOffsets)) {
      for (const [timestamp, offset] of [
        [EARLIEST, 0],
        [LATEST, written],
      ] as const) {
        const topics = [{ name: topic, partitions: [{ partitionIndex: 0, timestamp, currentLeaderEpoch: 0 }] }]
        const response = await broker.ask(listOffsets, { topics }, version)
        expect(response.topics[0]!.partitions[0], `version ${version}`).toMatchObject({ errorCode: 0, offset })
      }
    }
    for (const version of broker.versionsOf(offsetForLeaderEpoch)) {
      const partitions = [{ partition: 0, currentLeaderEpoch: 0, leaderEpoch: 0 }]
      const response = await broker.ask(offsetForLeaderEpoch, { topics: [{ topic, partitions }] }, version)
      expect(response.topics[0]!.partitions[0]).toMatchObject({ errorCode: 0, leaderEpoch: 0, endOffset: written })
    }
    for (const version of broker.versionsOf(fetch)) {
      const partitions = [
        {
          partition: 0,
          currentLeaderEpoch: 0,
          fetchOffset: 1,
          ...(version >= 12 ? { lastFetchedEpoch: 0 } : {}),
          partitionMaxBytes: 1024 * 1024,
        },
      ]
      const topics = [version >= 13 ? { topicId, partitions } : { topic, partitions }]
      const response = await broker.ask(fetch, { maxWaitMs: 100, minBytes: 1, isolationLevel: 1, topics }, version)
      const [fetched] = response.responses[0]!.partitions
      expect(fetched, `version ${version}`).toMatchObject({
        errorCode: 0,
        highWatermark: written,
        divergingEpoch: null,
      })
      const bytes = fetched!.records!
      const { batches, failure } = readPartitionRecords(
        bytes,
        0,
        bytes.length,
        1,
        fetched!.abortedTransactions ?? [],
        {},
      )
      expect(failure).toBeUndefined()
      expect(batches.reduce((sum, batch) => sum + batch.count, 0)).toBe(written)
      const [batch] = batches
      expect(timestamps.map((_, i) => batch!.timestamp(i))).toEqual(timestamps)
      expect(batch!.headers(0)).toEqual([
        ['constructor', null],
        ['', Buffer.from('empty name')],
      ])
    }
  })

  it('a log that ends before a position: Fetch returns the offset where they diverge', async () => {
    const partitions = [
      { partition: 1, currentLeaderEpoch: 0, fetchOffset: 5, lastFetchedEpoch: 0, partitionMaxBytes: 1024 },
    ]
    const request = { maxWaitMs: 0, minBytes: 0, topics: [{ topicId, partitions }] }
    const response = await broker.ask(fetch, request, broker.newest(fetch))
    expect(response.responses[0]!.partitions[0]!.divergingEpoch).toEqual({ epoch: 0, endOffset: 0 })
  })

  it('the classic protocol in every version, with static members where supported', async () => {
    const versions = broker.versionsOf(joinGroup)
    expect(versions.length).toBeGreaterThan(3)
    const of = (message: Parameters<RawConnection['versionsOf']>[0], like: number) => {
      const spoken = broker.versionsOf(message)
      return spoken[Math.min(spoken.length - 1, Math.floor((like / versions.at(-1)!) * spoken.length))]!
    }
    for (const version of versions) {
      const group = await groupId()
      const groupInstanceId = version >= 5 ? 'one' : null
      const metadata = encodeSubscription({ topics: [topic], ownedPartitions: [{ topic, partitions: [1] }] })
      const join = (memberId: string) =>
        broker.ask(
          joinGroup,
          {
            groupId: group,
            sessionTimeoutMs: 10_000,
            rebalanceTimeoutMs: 10_000,
            memberId,
            groupInstanceId,
            protocolType: 'consumer',
            protocols: [{ name: 'roundrobin', metadata }],
          },
          version,
        )
      let joined = await join('')
      if (shown(joined.errorCode) === 'MEMBER_ID_REQUIRED (79)') joined = await join(joined.memberId)
      expect(joined, `version ${version}`).toMatchObject({ errorCode: 0, leader: joined.memberId })
      expect(decodeSubscription(joined.members[0]!.metadata)).toMatchObject({
        topics: [topic],
        ownedPartitions: [{ topic, partitions: [1] }],
      })

      const { memberId, generationId } = joined
      const member = { groupId: group, generationId, memberId }
      const instance = (since: number, spoken: number) => (spoken >= since ? { groupInstanceId } : {})
      const syncVersion = of(syncGroup, version)
      const isStatic = groupInstanceId !== null
      const sync = isStatic ? Math.max(3, syncVersion) : syncVersion
      const assignment = encodeAssignment({ assignedPartitions: [{ topic, partitions: [0, 1] }] })
      const synced = await broker.ask(
        syncGroup,
        {
          ...member,
          ...instance(3, sync),
          protocolType: 'consumer',
          protocolName: 'roundrobin',
          assignments: [{ memberId, assignment }],
        },
        sync,
      )
      expect(shown(synced.errorCode), `version ${sync}`).toBe(none)
      expect(decodeAssignment(synced.assignment).assignedPartitions).toEqual([{ topic, partitions: [0, 1] }])

      for (const beat of broker.versionsOf(heartbeat)) {
        if (isStatic && beat < 3) continue
        const { errorCode } = await broker.ask(heartbeat, { ...member, ...instance(3, beat) }, beat)
        expect(shown(errorCode)).toBe(none)
      }
      for (const commit of broker.versionsOf(offsetCommit)) {
        if (isStatic && commit < 7) continue
        const partitions = [{ partitionIndex: 0, committedOffset: 3, committedMetadata: `by ${commit}` }]
        const request = {
          groupId: group,
          generationIdOrMemberEpoch: generationId,
          memberId,
          ...instance(7, commit),
          topics: [{ name: topic, topicId, partitions }],
        }
        const { topics } = await broker.ask(offsetCommit, request, commit)
        expect(shown(topics[0]!.partitions[0]!.errorCode), `OffsetCommit version ${commit}`).toBe(none)
        for (const version of broker.versionsOf(offsetFetch)) {
          const query = { groupId: group, topics: [{ name: topic, topicId, partitions: [0] }], requireStable: true }
          const answer = await broker.ask(offsetFetch, fetchCommittedOffsets(query, version), version)
          expect(committedOffsets(answer, group, version), `OffsetFetch version ${version}`).toMatchObject({
            errorCode: 0,
            topics: [{ partitions: [{ committedOffset: 3, metadata: `by ${commit}`, errorCode: 0 }] }],
          })
        }
      }
      for (const describe of broker.versionsOf(describeGroups)) {
        const { groups } = await broker.ask(describeGroups, { groups: [group] }, describe)
        expect(groups[0]).toMatchObject({ errorCode: 0, groupState: 'Stable', members: [{ memberId }] })
      }
      const leave = isStatic ? Math.max(3, of(leaveGroup, version)) : of(leaveGroup, version)
      const left = await broker.ask(
        leaveGroup,
        leaveOneMember(group, { memberId, groupInstanceId }, 'the test is over', leave),
        leave,
      )
      expect(shown(leftErrorCode(left)), `LeaveGroup version ${leave}`).toBe(none)
    }
  })

  it('the consumer protocol: joining, taking partitions, leaving', async () => {
    if (broker.versionsOf(consumerGroupHeartbeat).length === 0) return
    const group = await groupId()
    const version = broker.newest(consumerGroupHeartbeat)
    const memberId = randomUUID()
    const joining = {
      groupId: group,
      memberId,
      memberEpoch: memberEpoch.join,
      rebalanceTimeoutMs: 10_000,
      subscribedTopicNames: [topic],
      topicPartitions: [],
    }
    let answer = await broker.ask(consumerGroupHeartbeat, joining, version)
    expect(shown(answer.errorCode), answer.errorMessage ?? '').toBe(none)
    while (answer.assignment === null || answer.assignment.topicPartitions.length === 0) {
      const request = { groupId: group, memberId, memberEpoch: answer.memberEpoch }
      answer = await broker.ask(consumerGroupHeartbeat, request, version)
      expect(shown(answer.errorCode)).toBe(none)
    }
    const { topicPartitions } = answer.assignment
    expect(topicPartitions.map(({ topicId, partitions }) => [topicId, [...partitions].sort()])).toEqual([
      [topicId, [0, 1]],
    ])
    const taken = { groupId: group, memberId, memberEpoch: answer.memberEpoch, topicPartitions }
    expect(shown((await broker.ask(consumerGroupHeartbeat, taken, version)).errorCode)).toBe(none)
    for (const describe of broker.versionsOf(consumerGroupDescribe)) {
      const { groups } = await broker.ask(consumerGroupDescribe, { groupIds: [group] }, describe)
      expect(groups[0]).toMatchObject({ errorCode: 0, members: [{ memberId, subscribedTopicNames: [topic] }] })
    }
    // Accepted with the member's epoch, and refused with another: such an answer has no positions.
    const query = {
      groupId: group,
      memberId,
      topics: [{ name: topic, topicId, partitions: [0] }],
      requireStable: true,
    }
    const newest = broker.newest(offsetFetch)
    for (const [memberEpoch, code] of [
      [answer.memberEpoch, none],
      [answer.memberEpoch + 5, 'STALE_MEMBER_EPOCH (113)'],
    ] as const) {
      const response = await broker.ask(offsetFetch, fetchCommittedOffsets({ ...query, memberEpoch }, newest), newest)
      expect(shown(committedOffsets(response, group, newest)!.errorCode)).toBe(code)
    }
    const leaving = { groupId: group, memberId, memberEpoch: memberEpoch.leave }
    expect(shown((await broker.ask(consumerGroupHeartbeat, leaving, version)).errorCode)).toBe(none)
  })
})
