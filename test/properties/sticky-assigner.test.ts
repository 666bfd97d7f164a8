import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type StickyAssignment,
  type StickyMember,
  stickyAssignment,
} from '../../src/drivers/kafka/membership/sticky-assignment.js'

const fresh = (id: string, topics: readonly string[]): StickyMember => ({ id, topics, owned: [], generation: -1 })

const ownedBy = (assignment: StickyAssignment, id: string) =>
  [...(assignment.get(id) ?? [])].flatMap(([topic, partitions]) => partitions.map(partition => ({ topic, partition })))

const count = (assignment: StickyAssignment, id: string) => ownedBy(assignment, id).length

/** The members as they join again, after an assignment. */
const rejoining = (members: readonly StickyMember[], assignment: StickyAssignment, generation = 1): StickyMember[] =>
  members.map(member => ({ ...member, owned: ownedBy(assignment, member.id), generation }))

const ownerOf = (assignment: StickyAssignment) =>
  new Map(
    [...assignment.keys()].flatMap(id =>
      ownedBy(assignment, id).map(({ topic, partition }) => [`${topic}/${partition}`, id] as const),
    ),
  )

/** How many partitions have a new owner. Those that had none do not count. */
const moves = (before: StickyAssignment, after: StickyAssignment) => {
  const owners = ownerOf(after)
  return [...ownerOf(before)].filter(([name, id]) => owners.get(name) !== id).length
}

const names = ['a', 'b', 'c', 'd']
const counts = fc
  .array(fc.integer({ min: 1, max: 12 }), { minLength: names.length, maxLength: names.length })
  .map(numbers => new Map(names.map((name, at) => [name, numbers[at]!])))
const subscriptions = fc.array(fc.subarray(names, { minLength: 1 }), { minLength: 1, maxLength: 7 })
const group = subscriptions.map(all => all.map((topics, at) => fresh(`m${at}`, topics)))
/** The partitions that members claim to own, right or wrong, as after any history of the group. */
const claims = fc.array(
  fc.array(fc.record({ topic: fc.constantFrom(...names, 'gone'), partition: fc.integer({ min: -1, max: 14 }) }), {
    maxLength: 15,
  }),
  { minLength: 7, maxLength: 7 },
)
const generations = fc.array(fc.integer({ min: -1, max: 3 }), { minLength: 7, maxLength: 7 })
const anyGroup = fc
  .tuple(group, claims, generations)
  .map(([members, owned, generation]) =>
    members.map((member, at) => ({ ...member, owned: owned[at]!, generation: generation[at]! })),
  )

describe('the sticky assignment', () => {
  it('gives every partition that anyone subscribes to exactly once, to a subscriber', () => {
    fc.assert(
      fc.property(anyGroup, counts, (members, partitions) => {
        const assignment = stickyAssignment(members, partitions)
        const given = members.flatMap(({ id }) =>
          ownedBy(assignment, id).map(({ topic, partition }) => `${topic}/${partition}`),
        )
        const wanted = [...partitions]
          .filter(([topic]) => members.some(member => member.topics.includes(topic)))
          .flatMap(([topic, number]) => Array.from({ length: number }, (_, partition) => `${topic}/${partition}`))
        expect(given.sort()).toEqual(wanted.sort())
        for (const { id, topics } of members) {
          expect(ownedBy(assignment, id).every(({ topic }) => topics.includes(topic))).toBe(true)
        }
      }),
    )
  })

  it('differs by at most one if all members subscribe to the same topics, whatever they had before', () => {
    fc.assert(
      fc.property(anyGroup, counts, (members, partitions) => {
        const alike = members.map(member => ({ ...member, topics: names }))
        const assignment = stickyAssignment(alike, partitions)
        const loads = alike.map(({ id }) => count(assignment, id))
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1)
      }),
    )
  })

  it('leaves no partition with a member that has two more than another eligible member', () => {
    fc.assert(
      fc.property(anyGroup, counts, (members, partitions) => {
        const assignment = stickyAssignment(members, partitions)
        for (const giver of members) {
          for (const taker of members) {
            const shared = ownedBy(assignment, giver.id).some(({ topic }) => taker.topics.includes(topic))
            if (shared) expect(count(assignment, giver.id) - count(assignment, taker.id)).toBeLessThan(2)
          }
        }
      }),
    )
  })

  it('moves nothing when nothing changed', () => {
    fc.assert(
      fc.property(anyGroup, counts, (members, partitions) => {
        const before = stickyAssignment(members, partitions)
        expect(stickyAssignment(rejoining(members, before), partitions)).toEqual(before)
      }),
    )
  })

  it('is the same whatever the order in which the members joined', () => {
    fc.assert(
      fc.property(
        anyGroup.chain(members =>
          fc.tuple(fc.constant(members), fc.shuffledSubarray(members, { minLength: members.length })),
        ),
        counts,
        ([members, shuffled], partitions) => {
          const sameOwner = members.map(({ owned }, at) => ({ ...members[at]!, owned, generation: at }))
          const again = shuffled.map(({ id }) => sameOwner.find(member => member.id === id)!)
          expect(new Map(stickyAssignment(again, partitions))).toEqual(new Map(stickyAssignment(sameOwner, partitions)))
        },
      ),
    )
  })

  it('moves to a new member no more than its share', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), counts, (size, partitions) => {
        const members = Array.from({ length: size }, (_, at) => fresh(`m${at}`, names))
        const before = stickyAssignment(members, partitions)
        const after = stickyAssignment([...rejoining(members, before), fresh('new', names)], partitions)
        const total = [...partitions.values()].reduce((sum, number) => sum + number, 0)
        expect(moves(before, after)).toBe(Math.floor(total / (size + 1)))
        expect(count(after, 'new')).toBe(Math.floor(total / (size + 1)))
      }),
    )
  })

  it('moves only the partitions of a member that leaves', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 7 }), counts, (size, partitions) => {
        const members = Array.from({ length: size }, (_, at) => fresh(`m${at}`, names))
        const before = stickyAssignment(members, partitions)
        const after = stickyAssignment(rejoining(members, before).slice(1), partitions)
        expect(moves(before, after)).toBe(count(before, 'm0'))
      }),
    )
  })

  it('moves 4 of 12 partitions from 2 to 3 members, and 4 back', () => {
    const partitions = new Map([['a', 12]])
    const two = [fresh('x', ['a']), fresh('y', ['a'])]
    const before = stickyAssignment(two, partitions)
    const three = [...rejoining(two, before), fresh('z', ['a'])]
    const between = stickyAssignment(three, partitions)
    expect(moves(before, between)).toBe(4)
    expect(moves(between, stickyAssignment(rejoining(three, between, 2).slice(0, 2), partitions))).toBe(4)
  })

  it('prefers the owner with the later generation', () => {
    const owned = [{ topic: 'a', partition: 0 }]
    const members = [
      { ...fresh('x', ['a']), owned, generation: 3 },
      { ...fresh('y', ['a']), owned, generation: 4 },
    ]
    expect(ownedBy(stickyAssignment(members, new Map([['a', 1]])), 'y')).toEqual(owned)
  })

  it('balances through a third member if two share no topic', () => {
    const members = [
      { ...fresh('x', ['a']), owned: [0, 1, 2, 3].map(partition => ({ topic: 'a', partition })), generation: 1 },
      { ...fresh('y', ['a', 'b']), owned: [0, 1].map(partition => ({ topic: 'b', partition })), generation: 1 },
      fresh('z', ['b']),
    ]
    const after = stickyAssignment(
      members,
      new Map([
        ['a', 4],
        ['b', 2],
      ]),
    )
    expect(members.map(({ id }) => count(after, id))).toEqual([2, 2, 2])
  })
})
