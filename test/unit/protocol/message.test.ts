import { describe, expect, it } from 'vitest'
import { messages } from '../../../src/protocol/messages/all.js'
import { apiVersions, servedVersions } from '../../../src/protocol/messages/api-versions.js'
import {
  decodeAssignment,
  decodeSubscription,
  encodeSubscription,
} from '../../../src/protocol/messages/consumer-protocol.js'
import { fetch } from '../../../src/protocol/messages/fetch.js'
import {
  coordinatorType,
  findCoordinator,
  findOneCoordinator,
  foundCoordinator,
} from '../../../src/protocol/messages/find-coordinator.js'
import {
  correlationIdOf,
  decodeRequestHeader,
  encodeRequest,
  encodeRequestFrame,
  encodeResponseFrame,
  responseBody,
} from '../../../src/protocol/messages/headers.js'
import { joinGroup } from '../../../src/protocol/messages/join-group.js'
import { leaveGroup, leaveOneMember, leftErrorCode } from '../../../src/protocol/messages/leave-group.js'
import { metadata } from '../../../src/protocol/messages/metadata.js'
import { committedOffsets, fetchCommittedOffsets, offsetFetch } from '../../../src/protocol/messages/offset-fetch.js'
import { produce } from '../../../src/protocol/messages/produce.js'
import { UnsupportedFieldError } from '../../../src/protocol/schema/struct.js'
import { MalformedMessageError } from '../../../src/protocol/wire/malformed-message-error.js'
import { ZERO_UUID } from '../../../src/protocol/wire/uuid.js'

const versionsOf = ({
  versions: { min, max },
}: {
  readonly versions: { readonly min: number; readonly max: number }
}) => Array.from({ length: max - min + 1 }, (_, i) => min + i)

describe('a message', () => {
  it('uses the newest version that both sides support', () => {
    expect(fetch.versionFor({ min: 0, max: 11 })).toBe(11)
    expect(fetch.versionFor({ min: 4, max: 99 })).toBe(fetch.versions.max)
    expect(fetch.versionFor({ min: 0, max: 3 })).toBeUndefined()
    expect(fetch.versionFor({ min: 50, max: 99 })).toBeUndefined()
    expect(fetch.versionFor(undefined)).toBeUndefined()
  })

  it('has a unique key', () => {
    expect(new Set(messages.map(({ key }) => key)).size).toBe(messages.length)
  })

  it('throws if a version has no field for a value that must not be lost', () => {
    const request = {
      groupId: 'g',
      sessionTimeoutMs: 1,
      rebalanceTimeoutMs: 1,
      memberId: '',
      protocolType: 'consumer',
      protocols: [],
    }
    const asStatic = { ...request, groupInstanceId: 'one' }
    expect(() => joinGroup.encodeRequest(asStatic, 4)).toThrow(UnsupportedFieldError)
    expect(() => joinGroup.encodeRequest(asStatic, 4)).toThrow('version 4 has no field groupInstanceId')
    expect(joinGroup.decodeRequest(joinGroup.encodeRequest(asStatic, 5), 5).groupInstanceId).toBe('one')
    // `reason` may be omitted, because the broker only logs it.
    expect(joinGroup.encodeRequest({ ...request, reason: 'why' }, 4)).toEqual(joinGroup.encodeRequest(request, 4))
    // `allowAutoTopicCreation: false` may not, because the broker would create the topic.
    expect(() => metadata.encodeRequest({ topics: [], allowAutoTopicCreation: false }, 3)).toThrow(
      UnsupportedFieldError,
    )
  })

  it('refuses unsupported versions', () => {
    expect(() => fetch.decodeResponse(Buffer.alloc(100), 3)).toThrow(RangeError)
    expect(() => fetch.decodeResponse(Buffer.alloc(100), Number.NaN)).toThrow(RangeError)
  })

  it('ignores additional bytes of a response, but not of a request', () => {
    const response = apiVersions.encodeResponse({ errorCode: 0, apiKeys: [] }, 0)
    expect(apiVersions.decodeResponse(Buffer.concat([response, Buffer.of(1)]), 0).errorCode).toBe(0)
    expect(() => apiVersions.decodeRequest(Buffer.of(1), 0)).toThrow(MalformedMessageError)
  })
})

describe('headers', () => {
  it.each(messages)('identify request and response in every version: $name', message => {
    const body = Buffer.from('body')
    for (const version of versionsOf(message)) {
      const request = encodeRequestFrame(message, { apiVersion: version, correlationId: 7, clientId: 'c' }, body)
      expect(request.readInt32BE(0)).toBe(request.length - 4)
      expect(decodeRequestHeader(request.subarray(4))).toEqual({
        header: { apiKey: message.key, apiVersion: version, correlationId: 7, clientId: 'c' },
        body,
      })
      const response = encodeResponseFrame(message, version, 7, body).subarray(4)
      expect(correlationIdOf(response)).toBe(7)
      expect(responseBody(message, version, response)).toEqual(body)
    }
  })

  it('precede a request that is encoded with them, with records of any size', () => {
    for (const version of versionsOf(produce)) {
      for (const size of [0, 100, 5_000, 200_000]) {
        const records = Buffer.alloc(size, 'x')
        const request = {
          ...{ acks: -1, timeoutMs: 1_000 },
          topicData: [{ name: 'orders', partitionData: [{ index: 3, records }] }],
        }
        const header = { apiVersion: version, correlationId: 7, clientId: 'c' }
        const body = produce.encodeRequest(request, version)
        const frame = encodeRequestFrame(produce, header, body)
        expect(encodeRequest(produce, header, request).equals(frame)).toBe(true)
      }
    }
  })

  it('have tagged fields in flexible versions, except the response of ApiVersions', () => {
    expect(responseBody(fetch, 12, Buffer.from('0000000700aa', 'hex')).toString('hex')).toBe('aa')
    expect(responseBody(fetch, 11, Buffer.from('00000007aa', 'hex')).toString('hex')).toBe('aa')
    expect(responseBody(apiVersions, 3, Buffer.from('00000007aa', 'hex')).toString('hex')).toBe('aa')
  })

  it('of unsupported messages, or truncated ones, are refused with a MalformedMessageError', () => {
    expect(() => decodeRequestHeader(Buffer.from('03e70000000000000000', 'hex'))).toThrow(MalformedMessageError)
    expect(() => decodeRequestHeader(Buffer.alloc(3))).toThrow(MalformedMessageError)
    expect(() => correlationIdOf(Buffer.alloc(3))).toThrow(MalformedMessageError)
  })
})

describe('one request in the form of every version', () => {
  it.each(versionsOf(findCoordinator))('FindCoordinator: version %i', version => {
    const request = findCoordinator.decodeRequest(
      findCoordinator.encodeRequest(findOneCoordinator('g', coordinatorType.group, version), version),
      version,
    )
    expect(version >= 4 ? request.coordinatorKeys : [request.key]).toEqual(['g'])
    const found = { nodeId: 3, host: 'h', port: 1, errorCode: 15, errorMessage: null }
    const sent = version >= 4 ? { coordinators: [{ key: 'g', ...found }] } : found
    const response = findCoordinator.decodeResponse(
      findCoordinator.encodeResponse({ ...sent, errorMessage: version === 0 ? '' : null } as never, version),
      version,
    )
    expect(foundCoordinator(response, 'g', version)).toMatchObject({ nodeId: 3, host: 'h', port: 1, errorCode: 15 })
    if (version >= 4) expect(foundCoordinator(response, 'other', version)).toBeUndefined()
  })

  it.each(versionsOf(offsetFetch))('OffsetFetch: version %i', version => {
    const topicId = Buffer.alloc(16, 1).toString('base64url')
    const query = {
      groupId: 'g',
      memberId: 'm',
      memberEpoch: 4,
      topics: [{ name: 't', topicId, partitions: [0, 1] }],
      requireStable: true,
    }
    const request = offsetFetch.decodeRequest(
      offsetFetch.encodeRequest(fetchCommittedOffsets(query, version), version),
      version,
    )
    const asked = version >= 8 ? request.groups[0] : request
    expect(asked).toMatchObject({ groupId: 'g', topics: [{ partitionIndexes: [0, 1] }] })
    if (version >= 9) expect(asked).toMatchObject({ memberId: 'm', memberEpoch: 4 })
    if (version >= 7) expect(request.requireStable).toBe(true)

    const partitions = [{ partitionIndex: 1, committedOffset: 5, metadata: 'x', errorCode: 0 }]
    const topics = [version >= 10 ? { topicId, partitions } : { name: 't', partitions }]
    const sent = version >= 8 ? { groups: [{ groupId: 'g', topics, errorCode: 0 }] } : { topics }
    const response = offsetFetch.decodeResponse(offsetFetch.encodeResponse(sent as never, version), version)
    expect(committedOffsets(response, 'g', version)).toMatchObject({
      errorCode: 0,
      topics: [{ name: version >= 10 ? '' : 't', topicId: version >= 10 ? topicId : ZERO_UUID, partitions }],
    })
  })

  it.each(versionsOf(leaveGroup))('LeaveGroup: version %i', version => {
    const bytes = leaveGroup.encodeRequest(
      leaveOneMember('g', { memberId: 'm', groupInstanceId: null }, 'closing', version),
      version,
    )
    const request = leaveGroup.decodeRequest(bytes, version)
    expect(version >= 3 ? request.members[0]!.memberId : request.memberId).toBe('m')
    const member = { memberId: 'm', groupInstanceId: null, errorCode: 25 }
    const sent = version >= 3 ? { errorCode: 0, members: [member] } : { errorCode: 25 }
    expect(leftErrorCode(leaveGroup.decodeResponse(leaveGroup.encodeResponse(sent, version), version))).toBe(25)
    const asStatic = () => leaveOneMember('g', { memberId: 'm', groupInstanceId: 'i' }, null, version)
    if (version >= 3) expect(asStatic().members).toHaveLength(1)
    else expect(asStatic).toThrow(RangeError)
  })

  it('lists the APIs of a broker, by key', () => {
    const response = apiVersions.encodeResponse(
      { errorCode: 0, apiKeys: [{ apiKey: 1, minVersion: 4, maxVersion: 18 }] },
      3,
    )
    expect(servedVersions(apiVersions.decodeResponse(response, 3))).toEqual(new Map([[1, { min: 4, max: 18 }]]))
  })
})

describe('the consumer protocol', () => {
  it('is read in newer versions than it is written in', () => {
    const newer = encodeSubscription({ topics: ['t'], rackId: 'r' })
    newer.writeInt16BE(9, 0)
    const more = Buffer.concat([newer, Buffer.from('more')])
    expect(decodeSubscription(more)).toMatchObject({ topics: ['t'], rackId: 'r', generationId: -1 })
  })

  it('treats no bytes as an empty assignment', () => {
    expect(decodeAssignment(Buffer.alloc(0)).assignedPartitions).toEqual([])
    expect(() => decodeAssignment(Buffer.of(0))).toThrow(MalformedMessageError)
    expect(() => decodeSubscription(Buffer.from('ffff', 'hex'))).toThrow(MalformedMessageError)
  })
})
