import { wrongUse } from './failure.js'

const part = /^(\d{1,10}):(\d{1,16})(?:-(\d{1,16}))?$/

/** The offsets of a topic that `--offsets` names. */
export interface OffsetList {
  has(partition: number, offset: number): boolean
}

/**
 * Reads `0:5-9,1:7`: the offsets 5 to 9 of partition 0, and offset 7 of partition 1.
 *
 * @throws CommandFailure naming the part that cannot be read.
 */
export function offsetList(text: string): OffsetList {
  const ranges = text.split(',').map(each => {
    const found = part.exec(each.trim())
    const [partition, first, last] = found === null ? [] : [found[1], found[2], found[3] ?? found[2]].map(Number)
    if (partition === undefined || first! > last!) {
      throw wrongUse(`--offsets must be PARTITION:OFFSET or PARTITION:FIRST-LAST, separated by commas (got '${each}')`)
    }
    return { partition, first: first!, last: last! }
  })
  return {
    has: (partition, offset) =>
      ranges.some(range => range.partition === partition && range.first <= offset && offset <= range.last),
  }
}
