import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { drawDiagram, drawDiagrams, endOf, type Mark, parseDiagram, parseSpan } from '../../src/testing/diagram.js'

const marksOf = (gaps: readonly (readonly [number, string])[]): Mark[] => {
  let frame = 0
  return gaps.flatMap(([gap, letters]) => {
    frame += gap
    const marks = [...letters].map(mark => ({ frame, mark }))
    // A group takes as many frames as it has characters.
    frame += letters.length === 1 ? 1 : letters.length + 2
    return marks
  })
}
const gap = fc.oneof(fc.nat(30), fc.constantFrom(999, 1_000, 59_999, 60_000, 3_600_001))
const row = fc.array(fc.tuple(gap, fc.constantFrom('a', 'b', '1', 'ab', 'a1b')), { maxLength: 6 }).map(marksOf)

describe('diagrams', () => {
  it('are parsed back to what was drawn', () => {
    fc.assert(
      fc.property(row, marks => {
        expect(parseDiagram(drawDiagram(marks))).toEqual(marks)
      }),
    )
  })

  it('are aligned: marks of one frame are in one column', () => {
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 4 }), rows => {
        const drawn = drawDiagrams(rows)
        const columns = new Map<number, number>()
        rows.forEach((marks, at) => {
          // Finds the marks of each frame from left to right, and compares their columns with those of the other rows.
          let from = 0
          for (const frame of new Set(marks.map(({ frame }) => frame))) {
            const text = marks.flatMap(mark => (mark.frame === frame ? [mark.mark] : [])).join('')
            const cell = text.length === 1 ? text : `(${text})`
            const column =
              columns.get(frame) ??
              drawn[at]!.replace(/(?:^| )[\d.]+(?:ms|s|m) /g, time => ' '.repeat(time.length)).indexOf(cell, from)
            columns.set(frame, column)
            expect(drawn[at]!.slice(column, column + cell.length)).toBe(cell)
            from = column + cell.length
          }
        })
        expect(new Set(drawn.map(({ length }) => length)).size).toBe(1)
      }),
    )
  })

  it.each([
    ['', 0],
    ['---', 3],
    ['a 9ms (bc)-', 15],
    ['--^---!', 7],
    ['  - -  ', 2],
    ['-a 1s', 4],
  ])('of %o end at %i', (marbles, end) => {
    expect(endOf(marbles)).toBe(end)
  })

  it.each([
    ['--^---!', { from: 2, to: 6 }],
    ['^', { from: 0, to: Number.POSITIVE_INFINITY }],
    ['---', undefined],
  ])('of %o span %o', (marbles, span) => {
    expect(parseSpan(marbles)).toEqual(span)
  })
})
