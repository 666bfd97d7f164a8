import fc from 'fast-check'
import {
  concat,
  defer,
  EMPTY,
  ignoreElements,
  type Observable,
  Subject,
  throwError,
  timer,
  VirtualTimeScheduler,
} from 'rxjs'
import { describe, expect, it } from 'vitest'
import type { CommitPoint } from '../../src/commit-point.js'
import { CommitError } from '../../src/errors.js'
import { commitOffsets } from '../../src/operators/index.js'

const away = new CommitError('the broker is away', { retriable: true })
const refused = new CommitError('not authorised', { retriable: false })

/** A step, `after` ms after the previous one. */
type Step = { readonly after: number; readonly partition: number } & (
  | { readonly type: 'point'; readonly by: number; readonly metadata: string | undefined }
  | { readonly type: 'end'; readonly back: number }
)
/** How the driver answers one commit. After 0 ms means synchronously. */
interface Answer {
  readonly after: number
  readonly passes: boolean
}

const after = fc.oneof(fc.constant(0), fc.nat(30), fc.nat(400))
const partition = fc.nat(2)
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        ...{ type: fc.constant('point' as const), after, partition },
        // Positions grow. The operator must drop one that does not.
        by: fc.oneof({ weight: 4, arbitrary: fc.nat(5) }, fc.integer({ min: -4, max: -1 })),
        metadata: fc.constantFrom(undefined, undefined, 'x', 'y'),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ type: fc.constant('end' as const), after, partition, back: fc.nat(10) }),
    },
  ),
  { maxLength: 60, size: 'max' },
)
const answers: fc.Arbitrary<Answer[]> = fc.array(
  fc.record({ after, passes: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, fc.constant(false)) }),
  { maxLength: 30 },
)

interface Assignment {
  ended: boolean
}

/** A partition as its client sees it: with one assignment at a time, or without assignments. */
interface Partition {
  assignment: Assignment | undefined
  /** The client's position. */
  position: number
  /** The newest point of this assignment that the operator got. */
  newest: CommitPoint | undefined
  asked: CommitPoint | undefined
  confirmed: CommitPoint | undefined
}

const isSame = (one: CommitPoint, other: CommitPoint | undefined) =>
  one.offset === other?.offset && one.metadata === other.metadata

/** Runs the steps in virtual time against a driver with these answers, and checks every request to the driver. */
class World {
  readonly scheduler = new VirtualTimeScheduler()
  readonly points = new Subject<CommitPoint>()
  readonly partitions: Partition[]
  readonly errors: unknown[] = []
  completed = false
  requests = 0
  #inFlight = 0
  #sourceCompleted = false
  readonly #answers: Answer[]
  /** How often a subscriber pushes the next point synchronously when a commit is emitted. */
  #echoes: number

  constructor(assigned: readonly boolean[], answers: readonly Answer[], echoes: number, refusal: CommitError) {
    this.#answers = [...answers]
    this.#echoes = echoes
    this.partitions = assigned.map(isAssigned => ({
      ...{ assignment: isAssigned ? { ended: false } : undefined, position: 1_000 },
      ...{ newest: undefined, asked: undefined, confirmed: undefined },
    }))
    const commit = (points: readonly CommitPoint[]) => defer(() => this.#ask(points, refusal))
    this.points.pipe(commitOffsets({ commit, scheduler: this.scheduler })).subscribe({
      next: point => this.#hear(point),
      error: error => this.errors.push(error),
      complete: () => {
        this.completed = true
      },
    })
  }

  run(steps: readonly Step[]): void {
    let at = 0
    for (const step of steps) {
      at += step.after
      this.scheduler.schedule(() => this.#do(step), at)
    }
    this.scheduler.schedule(() => {
      this.#sourceCompleted = true
      this.points.complete()
    }, at)
    this.scheduler.flush()
  }

  #do(step: Step): void {
    const partition = this.partitions[step.partition]!
    if (step.type === 'point') {
      this.#push(step.partition, partition.position + step.by, step.metadata)
    } else if (partition.assignment !== undefined) {
      partition.assignment.ended = true
      partition.assignment = { ended: false }
      // The next assignment begins at the committed position, which may be much lower.
      partition.position -= step.back
      partition.newest = partition.asked = partition.confirmed = undefined
    }
  }

  #push(at: number, offset: number, metadata: string | undefined): void {
    if (this.#sourceCompleted) return
    const partition = this.partitions[at]!
    const { assignment, newest } = partition
    partition.position = Math.max(partition.position, offset)
    const point: CommitPoint = { topic: 'orders', partition: at, offset: BigInt(offset), metadata, assignment }
    if (newest === undefined || point.offset >= newest.offset) partition.newest = point
    this.points.next(point)
  }

  #ask(points: readonly CommitPoint[], refusal: CommitError): Observable<never> {
    this.requests++
    expect(this.#inFlight).toBe(0)
    this.#inFlight++
    expect(points.length).toBeGreaterThan(0)
    expect(new Set(points.map(({ partition }) => partition)).size).toBe(points.length)
    for (const point of points) {
      const partition = this.partitions[point.partition]!
      expect(point.assignment).toBe(partition.assignment)
      expect(point).toEqual(partition.newest)
      expect(point.offset).toBeGreaterThanOrEqual(partition.asked?.offset ?? 0n)
      expect(isSame(point, partition.confirmed)).toBe(false)
      partition.asked = point
      // Until it is answered, the committed position is unknown.
      partition.confirmed = undefined
    }
    const answer = this.#answers.shift() ?? { after: 5, passes: true }
    const end = defer(() => {
      this.#inFlight--
      if (!answer.passes) return throwError(() => refusal)
      for (const point of points) {
        const partition = this.partitions[point.partition]!
        if (partition.assignment === point.assignment) partition.confirmed = point
      }
      return EMPTY
    })
    return answer.after === 0 ? end : concat(timer(answer.after, this.scheduler).pipe(ignoreElements()), end)
  }

  #hear(point: CommitPoint): void {
    const partition = this.partitions[point.partition]!
    expect(point.assignment).toBe(partition.assignment)
    expect(point).toEqual(partition.asked)
    if (this.#echoes-- > 0) this.#push(point.partition, partition.position + 1, undefined)
  }
}

const assigned = fc.tuple(fc.boolean(), fc.boolean(), fc.boolean())

describe('commitOffsets', () => {
  it('asks for rising positions of live assignments, one commit at a time, until the newest are committed', () => {
    fc.assert(
      fc.property(steps, answers, assigned, fc.nat(8), (steps, answers, assigned, echoes) => {
        const world = new World(assigned, answers, echoes, away)
        world.run(steps)
        expect({ errors: world.errors, completed: world.completed }).toEqual({ errors: [], completed: true })
        for (const { newest, confirmed } of world.partitions) expect(confirmed).toEqual(newest)
      }),
      { numRuns: 600 },
    )
  })

  it('asks for nothing more after a refusal for good', () => {
    fc.assert(
      fc.property(steps, answers, assigned, (steps, answers, assigned) => {
        const world = new World(assigned, answers, 0, refused)
        world.run(steps)
        const refusals = answers.slice(0, world.requests).filter(({ passes }) => !passes).length
        expect(world.errors).toEqual(refusals === 0 ? [] : [refused])
        expect(refusals).toBeLessThanOrEqual(1)
        expect(world.completed).toBe(refusals === 0)
      }),
      { numRuns: 300 },
    )
  })
})
