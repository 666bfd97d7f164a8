import fc from 'fast-check'
import { expect, it } from 'vitest'
import { DeadLetterPlaces } from '../../src/cli/dead-letter-places'

const groups = fc.constantFrom('', 'billing', 'mail', '__proto__')
const partitions = fc.nat(2)
// Around the ends of the arrays that it keeps, and far away.
const offsets = fc.oneof(
  fc.nat(40),
  fc.integer({ min: 4_080, max: 4_110 }),
  fc.integer({ min: 2 ** 33, max: 2 ** 33 + 9 }),
)
const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('add' as const), group: groups, partition: partitions, offset: offsets }),
    fc.record({
      do: fc.constant('remove' as const),
      group: groups,
      partition: partitions,
      range: fc
        .tuple(offsets, fc.oneof(offsets, fc.constant(Number.MAX_SAFE_INTEGER)))
        .map(([one, other]) => [Math.min(one, other), Math.max(one, other)] as const),
    }),
    fc.record({ do: fc.constant('keep' as const), limit: fc.oneof(fc.nat(20), fc.constant(Number.POSITIVE_INFINITY)) }),
  ),
  { maxLength: 60 },
)

it('has the dead letters that were added and not removed, whatever the order', () => {
  fc.assert(
    fc.property(steps, all => {
      const places = new DeadLetterPlaces()
      let expected: { readonly group: string; readonly partition: number; readonly offset: number }[] = []
      for (const step of all) {
        if (step.do === 'add') {
          const { group, partition, offset } = step
          places.add(group, partition, offset)
          expected = expected.filter(each => each.partition !== partition || each.offset !== offset)
          expected.push({ group, partition, offset })
          expected.sort((one, other) => one.partition - other.partition || one.offset - other.offset)
        } else if (step.do === 'remove') {
          const [first, last] = step.range
          places.remove(step.group, step.partition, first, last)
          const isNamed = ({ group, partition, offset }: (typeof expected)[number]) =>
            group === step.group && partition === step.partition && first <= offset && offset <= last
          expected = expected.filter(each => !isNamed(each))
        } else {
          places.keepFirst(step.limit)
          expected = expected.slice(0, step.limit)
        }
      }
      expect([...places]).toEqual(expected)
      const counts = new Map<string, number>()
      const bounds = new Map<number, { first: number; last: number }>()
      for (const { group, partition, offset } of expected) {
        counts.set(group, (counts.get(group) ?? 0) + 1)
        bounds.set(partition, { first: bounds.get(partition)?.first ?? offset, last: offset })
        expect(places.groupAt(partition, offset)).toBe(group)
      }
      expect(new Map(places.counts)).toEqual(counts)
      expect(places.bounds).toEqual(bounds)
      expect(places.groupAt(3, 0)).toBeUndefined()
    }),
  )
})
