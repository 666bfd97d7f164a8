import { type Mark, parseDiagram } from './diagram.js'
import type { Comparison } from './picture.js'
import type { Site } from './site.js'

/** One diagram, or one for each partition, the first for partition 0. */
export type Diagrams = string | readonly string[]

/** Something that happened, as a diagram shows it. */
export interface Sighting extends Mark {
  readonly partition?: number
  /** What the mark stands for; absent where it speaks for itself. */
  readonly meaning?: string
}

/** What a diagram is expected to be. Compared when the run is over. */
export class Expectation {
  #expected: Diagrams | undefined
  #site: Site | undefined

  /**
   * @param name What is seen: `commits of orders`.
   * @param seen Asked once, when the run is over.
   */
  constructor(
    readonly name: string,
    readonly seen: () => readonly Sighting[],
  ) {}

  /**
   * @param marbles One diagram for everything seen, or one per partition; then the partitions without one are expected
   * to show nothing.
   */
  expect(site: Site, marbles: Diagrams): void {
    this.#expected = marbles
    this.#site = site
  }

  get site(): Site | undefined {
    return this.#site
  }

  /** None where nothing is expected. */
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

/** More is not read. */
const mostMeanings = 3

/** A mark may stand for several things: `?` does for all that has no mark of its own. */
function legendOf(seen: readonly Sighting[]): Map<string, string> {
  const meanings = new Map<string, Set<string>>()
  for (const { mark, meaning } of seen) {
    if (meaning !== undefined) meanings.set(mark, (meanings.get(mark) ?? new Set()).add(meaning))
  }
  return new Map([...meanings].map(([mark, all]) => [mark, lines([...all])]))
}

/** One under the other, as a legend has them behind its mark. */
export function lines(meanings: readonly string[]): string {
  const more = meanings.length > mostMeanings ? [`and ${meanings.length - mostMeanings} more`] : []
  return [...meanings.slice(0, mostMeanings), ...more].join('\n     ')
}
