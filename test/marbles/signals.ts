import { defer, finalize, map, type Observable, ReplaySubject } from 'rxjs'
import type { RunHelpers } from 'rxjs/testing'
import type { CommitPoint } from '../../src/commit-point.js'
import type { Driver } from '../../src/driver.js'
import type { BarrierRecord, BarrierSignal } from '../../src/operators/index.js'
import { DeliveredRecord } from '../../src/record.js'
import { FakeOwner, fakeRecord } from './fake-record.js'
import { testScheduler } from './stub-routing.js'

/** The kinds of records that a barrier gets: from a client, mapped by a pipeline, or created by other code. */
export const kinds = ['delivered', 'mapped', 'plain'] as const
export type Kind = (typeof kinds)[number]

export interface SignalOptions {
  /** Offsets by letter, where they are not 0 for `a`, 1 for `b` and so on. */
  readonly offsets?: Readonly<Record<string, number>>
  readonly kind?: Kind
  readonly owner?: FakeOwner
}

/**
 * The signals of a diagram: a lower-case letter delivers the record of that letter, the upper-case letter completes it,
 * and a digit says that everything below that offset was passed.
 */
export function signalsOf(letters: string, options: SignalOptions = {}): Record<string, BarrierSignal> {
  const { offsets = {}, kind = 'delivered', owner = new FakeOwner() } = options
  const { topic, partition } = owner
  const signals: Record<string, BarrierSignal> = {}
  const names = [...new Set(letters.toLowerCase().match(/[a-z]/g))].sort()
  for (const [slot, name] of names.entries()) {
    const record = recordOf(kind, owner, offsets[name] ?? name.charCodeAt(0) - 'a'.charCodeAt(0), slot)
    signals[name] = { type: 'delivered', record }
    signals[name.toUpperCase()] = { type: 'completed', record }
  }
  for (const digit of letters.match(/\d/g) ?? []) {
    signals[digit] = { type: 'passed', topic, partition, offset: Number(digit) }
  }
  return signals
}

export function recordOf(kind: Kind, owner: FakeOwner, offset: number, slot: number): BarrierRecord {
  const { topic, partition } = owner
  if (kind === 'plain') return { topic, partition, offset: BigInt(offset) }
  const record = deliveredRecord(owner, offset, slot)
  return kind === 'mapped' ? record.map(() => 'mapped').map(text => text.length) : record
}

/** A record as an assignment makes it: the slot counts its deliveries. */
export function deliveredRecord(owner: FakeOwner, offset: number, slot: number): DeliveredRecord {
  return new DeliveredRecord(owner, fakeRecord({ owner, offset }).batch, 0, slot, undefined, 0)
}

/** The points of a diagram: a digit is that position of partition 0, a letter one of partition 1: `a` is 1, `b` is 2. */
export function pointsOf(marks: string, assignment?: CommitPoint['assignment']): Record<string, CommitPoint> {
  const points: Record<string, CommitPoint> = {}
  for (const mark of marks.match(/[0-9a-i]/g) ?? []) {
    const partition = mark < 'a' ? 0 : 1
    const offset = BigInt(partition === 0 ? Number(mark) : mark.charCodeAt(0) - 'a'.charCodeAt(0) + 1)
    points[mark] = { topic: 'orders', partition, offset, ...(assignment && { assignment }) }
  }
  return points
}

function markOf({ partition, offset }: CommitPoint): string {
  return partition === 0 ? String(offset) : String.fromCharCode('a'.charCodeAt(0) + Number(offset) - 1)
}

export interface SignalHelpers extends RunHelpers {
  /** A hot source of signals; see {@link signalsOf}. */
  signals(marbles: string, options?: SignalOptions): Observable<BarrierSignal>
  /** A hot source of points; see {@link pointsOf}. */
  points(marbles: string, assignment?: CommitPoint['assignment']): Observable<CommitPoint>
  /** What is emitted, as marks of {@link pointsOf}. */
  expectPoints(points: Observable<CommitPoint>, unsubscribed?: string): { toBe(marbles: string, error?: unknown): void }
  /** A driver that answers its commits by these diagrams in turn, and later ones by the last diagram. */
  driver(answers: string | readonly string[], refusal?: unknown): StubDriver
  /** The commit requests to the driver: one mark, or a name for the marks of all points of a request. */
  expectRequests(driver: StubDriver): { toBe(marbles: string, marks?: Readonly<Record<string, string>>): void }
  /** The beginning and end of each request to the driver. */
  expectInFlight(driver: StubDriver): { toBe(marbles: readonly string[]): void }
  /** An assignment that ends at the mark. */
  endsAt(marbles: string): { readonly ended: boolean }
}

export interface StubDriver extends Pick<Driver, 'commit'> {
  readonly requests: ReplaySubject<string>
  readonly inFlight: SubscriptionLog[]
}

/** Runs in virtual time, with diagrams of deliveries, completions and positions. */
export function run(test: (helpers: SignalHelpers) => void): void {
  const scheduler = testScheduler()
  scheduler.run(helpers => {
    const { hot, cold, expectObservable, expectSubscriptions } = helpers
    test({
      ...helpers,
      signals: (marbles, options) => hot(marbles, signalsOf(marbles, options)),
      points: (marbles, assignment) => hot(marbles, pointsOf(marbles, assignment)),
      expectPoints: (points, unsubscribed) => {
        const expectation = expectObservable(points.pipe(map(markOf)), unsubscribed)
        return { toBe: (marbles, error) => expectation.toBe(marbles, undefined, error) }
      },
      driver: (answers, refusal) => {
        const requests = new ReplaySubject<string>()
        const inFlight: SubscriptionLog[] = []
        const left = typeof answers === 'string' ? [answers] : [...answers]
        const commit = (points: readonly CommitPoint[]) =>
          defer(() => {
            const at =
              inFlight.push({ subscribedFrame: scheduler.now(), unsubscribedFrame: Number.POSITIVE_INFINITY }) - 1
            requests.next(points.map(markOf).join(''))
            const answer = left.length > 1 ? left.shift()! : left[0]!
            return cold<never>(answer, undefined, refusal).pipe(
              finalize(() => {
                inFlight[at]!.unsubscribedFrame = scheduler.now()
              }),
            )
          })
        return { commit, requests, inFlight }
      },
      expectRequests: ({ requests }) => ({
        toBe: (marbles, marks) =>
          expectObservable(requests).toBe(marbles, {
            ...Object.fromEntries([...marbles].map(mark => [mark, mark])),
            ...marks,
          }),
      }),
      expectInFlight: ({ inFlight }) => ({
        toBe: marbles => expectSubscriptions(inFlight).toBe([...marbles]),
      }),
      endsAt: marbles => {
        const assignment = { ended: false }
        hot(marbles).subscribe(() => {
          assignment.ended = true
        })
        return assignment
      },
    })
  })
}

interface SubscriptionLog {
  subscribedFrame: number
  unsubscribedFrame: number
}
