import { median } from './median.js'
import type { Measurement } from './row.js'

/** What the rounds of a row came to, contender by contender. */
export class Figures {
  readonly #measured: ReadonlyMap<string, Measurement[]>
  /** What went wrong, in words. */
  readonly failures: string[] = []

  constructor(contenders: readonly string[]) {
    this.#measured = new Map(contenders.map(name => [name, []]))
  }

  add(contender: string, measurement: Measurement): void {
    this.#measured.get(contender)!.push(measurement)
  }

  /** Those that were measured at least once. */
  get contenders(): string[] {
    return [...this.#measured].filter(([, measurements]) => measurements.length > 0).map(([name]) => name)
  }

  /** All that any contender has, in the order in which they first came. */
  get columns(): string[] {
    return [...new Set([...this.#measured.values()].flat().flatMap(measurement => Object.keys(measurement)))]
  }

  /** One value a round; rounds that failed have none. */
  of(contender: string, column: string): number[] {
    const measurements = this.#measured.get(contender) ?? []
    return measurements.flatMap(measurement => measurement[column] ?? [])
  }

  median(contender: string, column: string): number | undefined {
    const values = this.of(contender, column)
    return values.length === 0 ? undefined : median(values)
  }
}
