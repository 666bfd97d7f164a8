import { expect } from 'vitest'

/** Checks the lines and the diagram of the demo, and their order. */
export function expectStory(output: string): void {
  const lines = output.split('\n')
  expect(lines.filter(line => line.includes('error'))).toEqual([])
  expectOrder(lines, [
    /running .*3 partitions/,
    /published .*a to i/,
    /e: attempt 1 failed/,
    /e: attempt 2 failed/,
    /e: attempt 3 succeeds/,
    /closing/,
  ])
  expectOrder(lines, [
    /published .*a to i/,
    /f: attempt 1 failed/,
    /f: attempt 2 failed/,
    /to DLQ .*f: attempt 3 failed/,
    /replaying/,
    /f: succeeds when it is read from the DLQ topic/,
    /published .*j/,
    /closing/,
    /closed .*drained: true, unsettled: 0/,
    /The same as a diagram/,
  ])
  const picture = lines.slice(lines.findIndex(line => line.includes('The same as a diagram')))
  expect(Math.max(...picture.map(line => line.length))).toBeLessThanOrEqual(100)
  expectPicture(picture)
}

function expectPicture(lines: readonly string[]): void {
  const at = (label: string) => lines.findIndex(line => line.startsWith(` ${label} `))
  const columns = (line: string, ...marks: string[]) => {
    let column = -1
    return marks.map(mark => {
      column = line.indexOf(mark, column + 1)
      expect(column, `${mark} in ${line}`).toBeGreaterThan(0)
      return column
    })
  }
  const row = (label: string) => lines[at(label)]!
  /** The first column at which this partition's position is at least `position`. */
  const committed = (label: string, position: number) => {
    const numbers = [...lines[at(label) + 1]!.matchAll(/\d+/g)]
    return numbers.find(([number]) => Number(number) >= position)!.index
  }

  const [, , slow] = columns(row('orders-0'), 'D', 'G', 'A')
  expect(committed('orders-0', 1)).toBe(committed('orders-0', 3))
  expect(committed('orders-0', 3)).toBeGreaterThanOrEqual(slow!)

  const [, failed] = columns(row('orders-1'), 'e', 'e✗')
  const [copied] = columns(row('retry'), '↓e', 'e✗', '↓e', 'e─', 'E')
  expect(copied).toBeGreaterThanOrEqual(failed!)
  expect(committed('orders-1', 2)).toBeGreaterThanOrEqual(copied!)

  const exhausted = columns(row('retry'), '↓f', 'f✗', '↓f', 'f✗').at(-1)!
  const [dead, , replayed] = columns(row('DLQ'), '↓f', 'f─', 'F')
  expect(dead).toBeGreaterThanOrEqual(exhausted)
  expect(committed('retry', 4)).toBeGreaterThanOrEqual(dead!)
  expect(committed('DLQ', 1)).toBeGreaterThanOrEqual(replayed!)

  const ends = ['orders-0', 'orders-1', 'orders-2', 'retry', 'DLQ'].map(label => row(label).indexOf('|'))
  expect(new Set(ends).size).toBe(1)
  expect(committed('orders-2', 4)).toBeLessThan(ends[0]!)
}

/** Each expression must match a line below the one that the previous expression matches. */
function expectOrder(lines: readonly string[], expected: readonly RegExp[]): void {
  let at = -1
  for (const line of expected) {
    at = lines.findIndex((told, index) => index > at && line.test(told))
    expect(at, `${line}, in its place in\n${lines.join('\n')}`).not.toBe(-1)
  }
}
