import { Random } from './random.js'

/** The choices of a scenario, by the letters of records, as a marble test repeats them. */
export interface ScenarioChoices {
  /** For a record, the results of its calls of `delay` in order, ms; further ones are 0. */
  readonly delays?: Readonly<Record<string, readonly number[]>> | undefined
  /** For a record, how many calls of `fails` return true before the others return false. */
  readonly failures?: Readonly<Record<string, number>> | undefined
  /** For a name, the index of the value that `pick` returns. */
  readonly picks?: Readonly<Record<string, number>> | undefined
}

/**
 * The choices of one run. They belong to records and do not depend on the order in which they are made, so a small change of
 * the schedule leaves the other choices as they were.
 */
export class Choices {
  /** The choices that were actually asked for. */
  readonly made = {
    delays: {} as Record<string, number[]>,
    failures: {} as Record<string, number>,
    picks: {} as Record<string, number>,
  }
  readonly #asked = new Map<string, number>()

  /**
   * @param given Choices made before; others are 0.
   * @param seed If present, choices that are not given are drawn from it.
   */
  constructor(
    readonly given: ScenarioChoices,
    readonly seed?: number,
  ) {}

  delay(letter: string, max: number): number {
    const delays = this.made.delays[letter] ?? []
    this.made.delays[letter] = delays
    const at = delays.length
    const delay = own(this.given.delays, letter)?.[at] ?? this.#draw(random => random.small(max), 'delay', letter, at)
    delays.push(delay)
    return delay
  }

  fails(letter: string, max: number): boolean {
    const failures =
      this.made.failures[letter] ??
      own(this.given.failures, letter) ??
      this.#draw(random => random.small(max), 'failures', letter)
    this.made.failures[letter] = failures
    const asked = this.#asked.get(letter) ?? 0
    this.#asked.set(letter, asked + 1)
    return asked < failures
  }

  pick(name: string, count: number): number {
    const at =
      this.made.picks[name] ??
      own(this.given.picks, name) ??
      this.#draw(random => random.integer(count - 1), 'pick', name)
    this.made.picks[name] = at
    return Math.min(at, count - 1)
  }

  #draw(draw: (random: Random) => number, ...what: (string | number)[]): number {
    return this.seed === undefined ? 0 : draw(new Random(this.seed, ...what))
  }
}

/** The choices without those that are 0, which is the default. */
export function essential({ delays = {}, failures = {}, picks = {} }: ScenarioChoices): ScenarioChoices {
  const waits = Object.entries(delays).map(([letter, list]): [string, readonly number[]] => {
    return [letter, list.slice(0, list.findLastIndex(delay => delay > 0) + 1)]
  })
  return {
    ...some(
      'delays',
      waits.filter(([, list]) => list.length > 0),
    ),
    ...some(
      'failures',
      Object.entries(failures).filter(([, count]) => count > 0),
    ),
    ...some(
      'picks',
      Object.entries(picks).filter(([, at]) => at > 0),
    ),
  }
}

function some<T>(name: string, entries: readonly (readonly [string, T])[]) {
  return entries.length === 0 ? {} : { [name]: Object.fromEntries(entries) }
}

function own<T>(values: Readonly<Record<string, T>> | undefined, name: string): T | undefined {
  return values !== undefined && Object.hasOwn(values, name) ? values[name] : undefined
}
