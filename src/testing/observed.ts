import { isDeepStrictEqual } from 'node:util'
import { isObservable, type Observable, type ObservableNotification, type Subscription } from 'rxjs'
import type { Clock } from './clock.js'
import { parseSpan, parseValues } from './diagram.js'
import { alphabet, shown } from './letters.js'
import type { Comparison } from './picture.js'
import type { Site } from './site.js'

interface Timed {
  readonly frame: number
  readonly notification: ObservableNotification<unknown>
}

/** `expectObservable` as in RxJS's `TestScheduler`: values are compared deeply, and inner Observables by what they emit. */
export class ObservedExpectation {
  readonly #actual: Timed[]
  #expected: readonly Timed[] | undefined
  #names: Readonly<Record<string, unknown>> = {}
  #site: Site | undefined

  /** @param subscription When to subscribe and unsubscribe, as `--^--!`; default from the beginning. */
  constructor(
    readonly name: string,
    readonly clock: Clock,
    observable: Observable<unknown>,
    readonly subscription: string | null = null,
  ) {
    this.#actual = this.#record(observable)
  }

  expectMarbles(site: Site, marbles: string, values: unknown, error: unknown): void {
    this.#site = site
    this.#expected = parseValues(marbles, values, error)
    if (typeof values === 'object' && values !== null) this.#names = values as Readonly<Record<string, unknown>>
  }

  expectSame(site: Site, other: Observable<unknown>): void {
    this.#site = site
    this.#expected = this.#record(other)
  }

  get site(): Site | undefined {
    return this.#site
  }

  comparisons(): Comparison[] {
    if (this.#expected === undefined) return []
    const marks = new Marks(this.#names)
    const expected = this.#expected.map(timed => marks.of(timed))
    return [{ name: this.name, expected, actual: this.#actual.map(timed => marks.of(timed)), legend: marks.legend }]
  }

  #record(observable: Observable<unknown>): Timed[] {
    const { from, to } = parseSpan(this.subscription ?? '') ?? { from: 0, to: Number.POSITIVE_INFINITY }
    const recorded: Timed[] = []
    let subscription: Subscription | undefined
    this.clock.at(from, () => {
      subscription = this.#follow(observable, recorded, 0)
    })
    if (to !== Number.POSITIVE_INFINITY) this.clock.at(to, () => subscription?.unsubscribe())
    return recorded
  }

  /** The frames of inner Observables count from their emission, as those of a cold diagram do. */
  #follow(observable: Observable<unknown>, recorded: Timed[], since: number): Subscription {
    // With all three properties, as RxJS makes them, because inner Observables are compared as arrays of these.
    const add = (kind: 'N' | 'E' | 'C', value?: unknown, error?: unknown) =>
      recorded.push({ frame: this.clock.now() - since, notification: { kind, value, error } as never })
    return observable.subscribe({
      next: value => {
        if (!isObservable(value)) return add('N', value)
        const inner: Timed[] = []
        add('N', inner)
        this.#follow(value, inner, this.clock.now())
      },
      error: error => add('E', undefined, error),
      complete: () => add('C'),
    })
  }
}

/** Gives each value a mark: its given name, itself if it is a character, or an unused letter. */
class Marks {
  readonly legend = new Map<string, string>()
  readonly #known: { readonly value: unknown; readonly mark: string }[]
  readonly #errors: unknown[] = []

  constructor(names: Readonly<Record<string, unknown>>) {
    this.#known = Object.entries(names).map(([mark, value]) => ({ mark, value }))
  }

  of({ frame, notification }: Timed): { readonly frame: number; readonly mark: string } {
    if (notification.kind === 'C') return { frame, mark: '|' }
    return {
      frame,
      mark: notification.kind === 'N' ? this.#ofValue(notification.value) : this.#ofError(notification.error),
    }
  }

  #ofValue(value: unknown): string {
    const known = this.#known.find(known => isDeepStrictEqual(known.value, value))
    const isItself =
      typeof value === 'string' && /^[^\s|#]$/u.test(value) && !this.#known.some(({ mark }) => mark === value)
    const mark = known?.mark ?? (isItself ? value : this.#free())
    if (known === undefined) this.#known.push({ mark, value })
    if (mark !== value) this.legend.set(mark, shown(value))
    return mark
  }

  /** The first error is `#`. A different one gets its own mark, so that the difference is visible. */
  #ofError(error: unknown): string {
    const at = this.#errors.findIndex(known => isDeepStrictEqual(known, error))
    const index = at === -1 ? this.#errors.push(error) - 1 : at
    const mark = index === 0 ? '#' : (['✗', '†', '‡'][index - 1] ?? '✗')
    this.legend.set(mark, error instanceof Error ? String(error) : `the error ${shown(error)}`)
    return mark
  }

  #free(): string {
    const taken = new Set(this.#known.map(({ mark }) => mark))
    return alphabet.find(letter => !taken.has(letter)) ?? '?'
  }
}
