import type { Observable } from 'rxjs'
import type { Client } from '../client/client.js'
import { isRxMikaError } from '../errors.js'
import type { ClientEvent } from '../events.js'
import type { Clock } from './clock.js'
import { endOf, type Mark } from './diagram.js'
import { type Diagrams, Expectation, lines, type Sighting } from './expectation.js'
import { type Letters, shown, unknown } from './letters.js'
import type { DiagramExpectation, MarbleHelpers, OfClient } from './marble-helpers.js'
import type { Members } from './members.js'
import { ObservedExpectation } from './observed.js'
import { type Comparison, type Context, isAsExpected, picture } from './picture.js'
import type { SeenOf, Sightings } from './sightings.js'
import { Site } from './site.js'

/** An expectation of any kind. */
interface Expected {
  readonly site: Site | undefined
  comparisons(): Comparison[]
}

type Out = Pick<
  MarbleHelpers,
  | 'expectDeliveries'
  | 'expectCommits'
  | 'expectRetries'
  | 'expectDeadLetters'
  | 'expectPublished'
  | 'expectErrors'
  | 'expectEvents'
  | 'expectState'
  | 'expectObservable'
>

/** The expectations of a run, and what was seen for each, as marks. */
export class MarbleOutputs {
  readonly #expectations: Expected[] = []
  readonly #subscriptions: Comparison[] = []
  #expectsErrors = false
  #observables = 0
  /** The frame where the longest diagram ends. */
  lastFrame = 0

  constructor(
    readonly clock: Clock,
    readonly members: Members,
    readonly letters: Letters,
    readonly seen: Sightings,
  ) {}

  readonly helpers: Out = {
    expectDeliveries: (topic, options) =>
      this.#expect(`deliveries of ${topic}${this.members.nameOf(options)}`, () =>
        of(this.seen.deliveries, options).flatMap(({ frame, value: record, client }) => {
          const place = {
            topic: this.members.fullName(client, record.topic),
            partition: record.partition,
            offset: record.offset,
          }
          if (place.topic !== topic) return []
          const { partition } = place
          return [{ frame, partition, ...this.letters.of(place, record.value) }]
        }),
      ),

    expectCommits: (topic, { group, positions = {} } = {}) =>
      this.#expect(`commits of ${topic}`, () => {
        const marks = new Map(Object.entries(positions).map(([mark, position]) => [position, mark]))
        const before = new Map<string, bigint>()
        return this.seen.commits.flatMap(({ frame, value: commit }): Sighting[] => {
          const { partition, offset } = commit
          if (commit.topic !== topic || (group !== undefined && commit.group !== group)) return []
          const key = `${partition} ${commit.group}`
          // The same position with other metadata: it has not moved.
          if ((before.get(key) ?? 0n) === offset) return []
          before.set(key, offset)
          const mark = marks.get(Number(offset)) ?? (offset < 10n ? String(offset) : unknown)
          return [{ frame, partition, mark, meaning: mark === String(offset) ? undefined : `position ${offset}` }]
        })
      }),

    expectRetries: () => this.#expectWritten('retries', () => this.members.topic('retryTopic')),

    expectDeadLetters: () => this.#expectWritten('dead letters', () => this.members.topic('dlqTopic')),

    expectPublished: (topic, values) => this.#expectWritten(`published to ${topic}`, () => topic, values),

    expectErrors: (marks, options) => {
      this.#expectsErrors = true
      return this.#expect(`errors${this.members.nameOf(options)}`, () =>
        of(this.seen.errors, options).map(({ frame, value: error }) => {
          const fitting = Object.entries(marks ?? {}).find(([, kind]) => isOfKind(error, kind))
          const mark = fitting?.[0] ?? (marks === undefined ? 'x' : unknown)
          return { frame, mark, meaning: String(error) }
        }),
      )
    },

    expectEvents: (marks, { topic, ...options } = {}) =>
      this.#expect(`events${this.members.nameOf(options)}`, () =>
        of(this.seen.events, options).flatMap(({ frame, value: event, client }): Sighting[] => {
          const mark = Object.keys(marks).find(mark => marks[mark] === event.type)
          if (mark === undefined || (topic !== undefined && !this.#isOf(topic, event, client))) return []
          return [{ frame, mark, meaning: event.type, partition: 'partition' in event ? event.partition : undefined }]
        }),
      ),

    expectState: options =>
      this.#expect(`state${this.members.nameOf(options)}`, () =>
        of(this.seen.states, options).map(({ frame, value }) => ({ frame, mark: value[0]!, meaning: value })),
      ),

    expectObservable: ((observable: Observable<unknown>, subscription?: string | null) => {
      if (subscription != null) this.#note(subscription)
      const name = this.#observables++ === 0 ? 'observable' : `observable ${this.#observables}`
      const expectation = new ObservedExpectation(name, this.clock, observable, subscription)
      const toBe = (marbles: string, values?: unknown, error?: unknown) => {
        this.#note(marbles)
        expectation.expectMarbles(new Site(toBe), marbles, values, error)
      }
      const toEqual = (other: Observable<unknown>) => expectation.expectSame(new Site(toEqual), other)
      this.#expectations.push(expectation)
      return { toBe, toEqual }
    }) as Out['expectObservable'],
  }

  /** Called by RxJS to compare the spans during which Observables were subscribed to. */
  readonly compareSubscriptions = (actual: readonly Span[], expected: readonly Span[]): void => {
    for (let at = 0; at < Math.max(actual.length, expected.length); at++) {
      const name = at === 0 ? 'subscription' : `subscription ${at + 1}`
      this.#subscriptions.push({ name, expected: marksOf(expected[at]), actual: marksOf(actual[at]) })
    }
  }

  /**
   * @param context The inputs, drawn above.
   * @param aftermath Called if something failed. Returns what is left, to be shown below.
   * @throws An `Error` with a picture for expectations that are not met.
   */
  throwUnlessMet(context: readonly Context[], aftermath: () => string): void {
    const subscriptions: Expected = { site: undefined, comparisons: () => this.#subscriptions }
    const failed = [...this.#expectations, subscriptions].flatMap(expected =>
      expected
        .comparisons()
        .filter(comparison => !isAsExpected(comparison))
        .map(comparison => ({ site: expected.site, comparison })),
    )
    if (failed.length === 0) return
    const drawn = picture(
      [...context, ...this.#unexpectedErrors()],
      failed.map(({ comparison }) => comparison),
    )
    const left = aftermath()
    const message = left === '' ? drawn : `${drawn}\n${left}`
    throw failed[0]!.site?.error(message) ?? new Error(message)
  }

  /** The errors of the run, unless the test expects errors anyway. They explain much. */
  #unexpectedErrors(): Context[] {
    if (this.seen.errors.length === 0 || this.#expectsErrors) return []
    const marks = this.seen.errors.map(({ frame }) => ({ frame, mark: 'x' }))
    const messages = [...new Set(this.seen.errors.map(({ value }) => String(value)))]
    return [{ name: 'errors', marks, legend: new Map([['x', lines(messages)]]) }]
  }

  #isOf(topic: string, event: ClientEvent, client: Client): boolean {
    return 'topic' in event && this.members.fullName(client, event.topic) === topic
  }

  #expectWritten(name: string, topic: () => string, values: Readonly<Record<string, string>> = {}): DiagramExpectation {
    return this.#expect(name, () =>
      this.seen.written.flatMap(({ frame, value: record }): Sighting[] => {
        if (record.topic !== topic()) return []
        const { partition } = record
        const text = record.value?.toString()
        const named = Object.keys(values).find(mark => values[mark] === text)
        const seen = this.letters.ofStored(record)
        return [{ frame, partition, ...(named === undefined ? seen : { mark: named, meaning: shown(text) }) }]
      }),
    )
  }

  #expect(name: string, seen: () => readonly Sighting[]): DiagramExpectation {
    const expectation = new Expectation(name, seen)
    this.#expectations.push(expectation)
    const toBe = (marbles: Diagrams) => {
      for (const diagram of typeof marbles === 'string' ? [marbles] : marbles) this.#note(diagram)
      expectation.expect(new Site(toBe), marbles)
    }
    return { toBe }
  }

  #note(marbles: string): void {
    this.lastFrame = Math.max(this.lastFrame, endOf(marbles))
  }
}

/** The span of a subscription, as RxJS logs it. */
interface Span {
  readonly subscribedFrame: number
  readonly unsubscribedFrame: number
}

function marksOf(span: Span | undefined): Mark[] {
  if (span === undefined) return []
  const begin = { frame: span.subscribedFrame, mark: '^' }
  const isOpen = span.unsubscribedFrame === Number.POSITIVE_INFINITY
  return isOpen ? [begin] : [begin, { frame: span.unsubscribedFrame, mark: '!' }]
}

function of<T>(seen: readonly SeenOf<T>[], { client }: OfClient = {}): readonly SeenOf<T>[] {
  return client === undefined ? seen : seen.filter(one => one.client === client)
}

/** Compares by name if both are errors of this library: the class may come from another copy of the package. */
function isOfKind(error: unknown, kind: abstract new (...args: never[]) => Error): boolean {
  return error instanceof kind || (isRxMikaError(error) && isRxMikaError(kind.prototype) && error.name === kind.name)
}
