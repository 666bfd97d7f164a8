import { median } from './median.js'
import type { Measurement } from './row.js'

/** The measurements of a row, by contender. */
export class Figures {
  readonly #measured: ReadonlyMap<string, Measurement[]>
  /** Messages about runs that failed and contenders that were left out. */
  readonly failures: string[] = []

  constructor(contenders: readonly string[]) {
    this.#measured = new Map(contenders.map(name => [name, []]))
  }

  add(contender: string, measurement: Measurement): void {
    this.#measured.get(contender)!.push(measurement)
  }

  /** The contenders that were measured at least once. */
  get contenders(): string[] {
    return [...this.#measured].filter(([, measurements]) => measurements.length > 0).map(([name]) => name)
  }

  /** The columns that any contender has, in order of first appearance. */
  get columns(): string[] {
    return [...new Set([...this.#measured.values()].flat().flatMap(measurement => Object.keys(measurement)))]
  }

  /** One value per round. Failed rounds have none. */
  of(contender: string, column: string): number[] {
    const measurements = this.#measured.get(contender) ?? []
    return measurements.flatMap(measurement => measurement[column] ?? [])
  }

  median(contender: string, column: string): number | undefined {
    const values = this.of(contender, column)
    return values.length === 0 ? undefined : median(values)
  }
}
