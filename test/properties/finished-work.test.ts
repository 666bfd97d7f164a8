import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeFinished, encodeFinished, type FinishedRange, metadataLimit } from '../../src/client/finished-work.js'

/** Ascending ranges with gaps between them, from the position on. */
const ranges = fc.array(fc.tuple(fc.nat(200), fc.nat(200)), { maxLength: 60 }).map(steps => {
  let at = 0
  return steps.map(([gap, length]): FinishedRange => {
    const first = at + gap + 1
    at = first + length + 1
    return [first, first + length]
  })
})
const position = fc.oneof(fc.nat(1_000), fc.integer({ min: 2 ** 40, max: 2 ** 50 }))

const moved = (by: number, list: readonly FinishedRange[]) =>
  list.map(([first, last]): FinishedRange => [first + by, last + by])

describe('finished work in commit metadata', () => {
  it('is read as it was written, for the same position', () => {
    fc.assert(
      fc.property(position, ranges, (at, list) => {
        const finished = moved(at, list)
        const { metadata, leftOut } = encodeFinished(at, finished)
        expect(leftOut).toBe(0)
        expect(decodeFinished(at, metadata)).toEqual(finished)
      }),
    )
  })

  it('is ignored for another position', () => {
    fc.assert(
      fc.property(position, ranges, fc.integer({ min: 1, max: 1_000 }), (at, list, by) => {
        const { metadata } = encodeFinished(at, moved(at, list))
        expect(decodeFinished(at + by, metadata)).toEqual([])
      }),
    )
  })

  it('is ignored if a character was changed', () => {
    fc.assert(
      fc.property(position, ranges, fc.nat(), fc.constantFrom('A', 'z', '0', '/'), (at, list, where, character) => {
        const { metadata } = encodeFinished(at, moved(at, list))
        const index = metadata.length === 0 ? 0 : where % metadata.length
        const changed = metadata.slice(0, index) + character + metadata.slice(index + 1)
        const read = decodeFinished(at, changed)
        // The last character of base64 may have bits that are not used.
        expect([[], decodeFinished(at, metadata)]).toContainEqual(read)
      }),
    )
  })

  it('ignores metadata of other clients', () => {
    fc.assert(
      fc.property(position, fc.string(), (at, metadata) => {
        expect(decodeFinished(at, metadata)).toEqual([])
      }),
    )
    fc.assert(
      fc.property(
        position,
        fc.constantFrom('rxmika/1r:', 'rxmika/1b:', 'rxmika/2r:'),
        fc.base64String(),
        (at, format, text) => {
          expect(decodeFinished(at, format + text)).toEqual([])
        },
      ),
    )
  })

  it("never exceeds the broker's limit, and reports what did not fit", () => {
    // Every third of 60,000 records: neither a bitmap nor a list of ranges can hold all of them.
    const sparse = Array.from({ length: 20_000 }, (_, at): FinishedRange => [at * 3 + 1, at * 3 + 1])
    const { metadata, leftOut } = encodeFinished(0, sparse)
    expect(metadata.length).toBeLessThanOrEqual(metadataLimit)
    const read = decodeFinished(0, metadata)
    expect(read).toEqual(sparse.slice(0, sparse.length - leftOut))
    expect(read.length).toBeGreaterThan(8_000)
  })

  it('respects a lower limit that a driver sets', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 200 }), limit => {
        const sparse = Array.from({ length: 300 }, (_, at): FinishedRange => [at * 3 + 1, at * 3 + 1])
        const { metadata, leftOut } = encodeFinished(0, sparse, limit)
        expect(metadata.length).toBeLessThanOrEqual(limit)
        expect(decodeFinished(0, metadata)).toEqual(sparse.slice(0, sparse.length - leftOut))
      }),
    )
  })

  it('uses a bitmap if that is shorter, and has room for 10,000 records in any order', () => {
    const alternating = Array.from({ length: 5_000 }, (_, at): FinishedRange => [at * 2 + 1, at * 2 + 1])
    const { metadata, leftOut } = encodeFinished(0, alternating)
    expect({ leftOut, format: metadata.slice(0, 10) }).toEqual({ leftOut: 0, format: 'rxmika/1b:' })
    expect(decodeFinished(0, metadata)).toEqual(alternating)
  })
})
