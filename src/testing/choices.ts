import { Random } from './random.js'

/** What a scenario chose, by the letters of records, as a marble test repeats it. */
export interface ScenarioChoices {
  /** `delay` of a record: ms, one after the other as they were asked for; further ones are 0. */
  readonly delays?: Readonly<Record<string, readonly number[]>>
  /** `fails` of a record: how many times it was true before it was false for good. */
  readonly failures?: Readonly<Record<string, number>>
  /** `pick` by name: the index of the value. */
  readonly picks?: Readonly<Record<string, number>>
}

/**
 * The choices of one run. They hang on the record and not on the order in which they are made, so that a schedule can be
 * changed a little and the rest of it stays what it was.
 */
export class Choices {
  /** What was chosen, and nothing that was never asked for. */
  readonly made = {
    delays: {} as Record<string, number[]>,
    failures: {} as Record<string, number>,
    picks: {} as Record<string, number>,
  }
  readonly #asked = new Map<string, number>()

  /**
   * @param given Choices made before; what is not in them is 0.
   * @param seed Instead: what is not given is drawn.
   */
  constructor(
    readonly given: ScenarioChoices,
    readonly seed?: number,
  ) {}

  delay(letter: string, most: number): number {
    const delays = this.made.delays[letter] ?? []
    this.made.delays[letter] = delays
    const at = delays.length
    const delay = own(this.given.delays, letter)?.[at] ?? this.#draw(random => random.small(most), 'delay', letter, at)
    delays.push(delay)
    return delay
  }

  fails(letter: string, most: number): boolean {
    const failures =
      this.made.failures[letter] ??
      own(this.given.failures, letter) ??
      this.#draw(random => random.small(most), 'failures', letter)
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

/** The same choices without those that are 0 anyway. */
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
