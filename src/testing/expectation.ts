import { type Mark, parseDiagram } from './diagram.js'
import type { Comparison } from './picture.js'
import type { Site } from './site.js'

/** One diagram for all partitions, or an array with one for each partition, from partition 0 on. */
export type Diagrams = string | readonly string[]

/** Something that happened, as a diagram shows it. */
export interface Sighting extends Mark {
  readonly partition?: number
  /** What the mark means; absent if it is obvious. */
  readonly meaning?: string
}

/** An expected diagram. It is compared when the run is over. */
export class Expectation {
  #expected: Diagrams | undefined
  #site: Site | undefined

  /**
   * @param name What the diagram shows: `commits of orders`.
   * @param seen Called once, when the run is over.
   */
  constructor(
    readonly name: string,
    readonly seen: () => readonly Sighting[],
  ) {}

  /**
   * @param marbles One diagram for everything, or one per partition. In the second case, partitions without a diagram are
   * expected to show nothing.
   */
  expect(site: Site, marbles: Diagrams): void {
    this.#expected = marbles
    this.#site = site
  }

  get site(): Site | undefined {
    return this.#site
  }

  /** Empty if nothing is expected. */
  comparisons(): Comparison[] {
    if (this.#expected === undefined) return []
    const seen = this.seen()
    const legend = legendOf(seen)
    if (typeof this.#expected === 'string') {
      return [{ name: this.name, expected: parseDiagram(this.#expected), actual: seen, legend }]
    }
    const partitions = Math.max(this.#expected.length, ...seen.map(({ partition = 0 }) => partition + 1))
    return Array.from({ length: partitions }, (_, at) => ({
      name: `${this.name}-${at}`,
      expected: parseDiagram(this.#expected?.[at] ?? ''),
      actual: seen.filter(({ partition = 0 }) => partition === at),
      legend,
    }))
  }
}

/** How many meanings of a mark are listed. */
const maxMeanings = 3

/** A mark may have several meanings: `?` is used for everything without a mark of its own. */
function legendOf(seen: readonly Sighting[]): Map<string, string> {
  const meanings = new Map<string, Set<string>>()
  for (const { mark, meaning } of seen) {
    if (meaning !== undefined) meanings.set(mark, (meanings.get(mark) ?? new Set()).add(meaning))
  }
  return new Map([...meanings].map(([mark, all]) => [mark, lines([...all])]))
}

/** Several meanings as lines of a legend, after their mark. */
export function lines(meanings: readonly string[]): string {
  const more = meanings.length > maxMeanings ? [`and ${meanings.length - maxMeanings} more`] : []
  return [...meanings.slice(0, maxMeanings), ...more].join('\n     ')
}
