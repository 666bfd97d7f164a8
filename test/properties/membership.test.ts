import fc from 'fast-check'
import { from, lastValueFrom } from 'rxjs'
import { describe, expect, it, vi } from 'vitest'
import { type ErrorName, errorCode } from '../../src/protocol/errors'
import { type Fate, refusing } from '../fake-broker/asked'
import type { Committed } from '../fake-broker/fake-kafka'
import { brokers, Reading } from '../fake-broker/reading'
import { Scope } from '../fake-broker/scope'

type GroupProtocol = 'classic' | 'consumer'

/** The steps on a group, one after the other, without waiting for their effects. */
type Step =
  | { readonly do: 'join' }
  | { readonly do: 'leave'; readonly which: number }
  | { readonly do: 'write'; readonly partition: number }
  | { readonly do: 'commit'; readonly which: number }
  | {
      readonly do: 'refuse'
      readonly request: string
      readonly code: 'NOT_COORDINATOR' | 'COORDINATOR_LOAD_IN_PROGRESS'
    }
  /** The coordinator does not know the member any more, or has another epoch for it. */
  | { readonly do: 'oust'; readonly request: string; readonly code: ErrorName }
  /** A broker that has just started does not know the topic yet, nor that it leads it. */
  | { readonly do: 'forget' }
  | { readonly do: 'lose'; readonly request: string; readonly ending: 'cut' }
  | { readonly do: 'slow'; readonly request: string; readonly delay: number }
  | { readonly do: 'pass'; readonly ms: number }

const partitions = 3
const requests: Readonly<Record<GroupProtocol, readonly string[]>> = {
  classic: ['JoinGroup', 'SyncGroup', 'Heartbeat', 'OffsetFetch', 'OffsetCommit'],
  consumer: ['ConsumerGroupHeartbeat', 'OffsetFetch', 'OffsetCommit'],
}

/** Refusals that remove a member from its group, by request. Those that only give it another id are left out. */
const ousted: Readonly<Record<GroupProtocol, readonly (readonly [request: string, code: ErrorName])[]>> = {
  classic: [
    ['Heartbeat', 'ILLEGAL_GENERATION'],
    ['SyncGroup', 'ILLEGAL_GENERATION'],
    ['OffsetCommit', 'ILLEGAL_GENERATION'],
  ],
  consumer: [
    ['ConsumerGroupHeartbeat', 'UNKNOWN_MEMBER_ID'],
    ['ConsumerGroupHeartbeat', 'FENCED_MEMBER_EPOCH'],
    ['ConsumerGroupHeartbeat', 'GROUP_ID_NOT_FOUND'],
    ['OffsetCommit', 'UNKNOWN_MEMBER_ID'],
    ['OffsetFetch', 'STALE_MEMBER_EPOCH'],
  ],
}

function steps(protocol: GroupProtocol): fc.Arbitrary<readonly Step[]> {
  const request = fc.constantFrom(...requests[protocol])
  const which = fc.nat({ max: 3 })
  const code = fc.constantFrom('NOT_COORDINATOR' as const, 'COORDINATOR_LOAD_IN_PROGRESS' as const)
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 3, arbitrary: fc.constant({ do: 'join' as const }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), which }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('write' as const), partition: fc.nat({ max: partitions - 1 }) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('commit' as const), which }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('refuse' as const), request, code }) },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom(...ousted[protocol])
        .map(([request, code]) => ({ do: 'oust' as const, request, code })),
    },
    { weight: 1, arbitrary: fc.constant({ do: 'forget' as const }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('lose' as const), request, ending: fc.constant('cut' as const) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('slow' as const), request, delay: fc.integer({ min: 1, max: 150 }) }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 120 }) }) },
  )
  return fc.array(step, { minLength: 4, maxLength: 14 })
}

const unknownTopic: Fate = {
  change: answer => ({
    ...answer,
    topics: answer.topics.map(({ name }: { readonly name: string }) => {
      return { errorCode: errorCode.UNKNOWN_TOPIC_OR_PARTITION, name, partitions: [] }
    }),
  }),
}

/** Runs the steps, and returns the violations. */
async function play(groupProtocol: GroupProtocol, steps: readonly Step[]): Promise<readonly string[]> {
  await using test = new Scope()
  const kafka = await brokers(test)
  kafka.create('orders', ...Array.from({ length: partitions }, () => 0))
  const wrong: string[] = []
  const members: Reading[] = []
  const committed = kafka.committed
  const set = committed.set.bind(committed)
  committed.set = (name: string, at: Committed) => {
    const before = committed.get(name)?.offset ?? 0
    if (at.offset < before) wrong.push(`${name} fell back from ${before} to ${at.offset}`)
    return set(name, at)
  }
  const lookForTwins = () => {
    for (let partition = 0; partition < partitions; partition++) {
      const name = `orders-${partition}`
      const holders = members.filter(({ assigned }) => assigned.has(name))
      if (holders.length > 1) wrong.push(`${name} is with ${holders.length} members`)
    }
  }
  const join = async () => {
    const member = await Reading.start(test, kafka, ['orders'], { groupProtocol, rebalanceTimeout: 100 })
    members.push(member)
    member.onRevoking = ({ assignments, hold }) => hold(from(lastCommits(member, assignments)))
  }
  const lastCommits = (member: Reading, assignments: readonly { topic: string; partition: number }[]) =>
    Promise.all(assignments.map(({ partition }) => commit(member, `orders-${partition}`)))
  /** Commits everything that it has read. The next owner gets what is refused. */
  const commit = async (member: Reading, name: string) => {
    const assignment = member.assigned.get(name)
    const read = member.records.filter(record => record.startsWith(`${name}@`)).map(record => /@(\d+)/.exec(record)![1])
    if (assignment === undefined || read.length === 0) return
    await member.commitOf(assignment, Number(read.at(-1)) + 1).catch(() => {})
  }
  const watching = setInterval(lookForTwins, 1)
  let written = 0
  try {
    await join()
    for (const step of steps) {
      const member = 'which' in step ? members[step.which % Math.max(1, members.length)] : undefined
      if (step.do === 'join' && members.length < 4) await join()
      else if (step.do === 'leave' && member !== undefined && members.length > 1) {
        members.splice(members.indexOf(member), 1)
        await lastValueFrom(member.driver.leave(), { defaultValue: undefined })
      } else if (step.do === 'write') kafka.log('orders', step.partition).append(`${written++}`)
      else if (step.do === 'commit' && member !== undefined) {
        for (const name of member.assigned.keys()) void commit(member, name)
      } else if (step.do === 'forget') {
        kafka.next('Metadata', unknownTopic)
        kafka.next('Fetch', refusing(errorCode.NOT_LEADER_OR_FOLLOWER))
      } else if (step.do === 'refuse' || step.do === 'oust') kafka.next(step.request, refusing(errorCode[step.code]))
      else if (step.do === 'lose') kafka.next(step.request, { ending: step.ending })
      else if (step.do === 'slow') kafka.next(step.request, { delay: step.delay })
      else if (step.do === 'pass') await new Promise(resolve => setTimeout(resolve, step.ms))
    }
    // In the end every partition has an owner and is read.
    const isWhole = () => members.reduce((all, { assigned }) => all + assigned.size, 0) === partitions
    await vi.waitUntil(isWhole, { timeout: 20_000, interval: 5 })
    for (let partition = 0; partition < partitions; partition++)
      kafka.log('orders', partition).append(`last ${partition}`)
    const isRead = (value: string) => members.some(member => member.has(value))
    const last = Array.from({ length: partitions }, (_, partition) => `last ${partition}`)
    await vi.waitUntil(() => last.every(isRead), { timeout: 20_000, interval: 5 })
    for (const { error } of members) if (error !== undefined) wrong.push(`a member ended: ${error}`)
    return wrong
  } finally {
    clearInterval(watching)
  }
}

describe('members that join and leave while brokers refuse, disconnect and delay', () => {
  for (const protocol of ['classic', 'consumer'] as const) {
    it(`own each partition at most once, all of them in the end, and lower no position (${protocol})`, async () => {
      await fc.assert(
        fc.asyncProperty(steps(protocol), async steps => {
          expect(await play(protocol, steps)).toEqual([])
        }),
        { numRuns: 8, endOnFailure: true },
      )
    }, 120_000)
  }
})
