import {
  concat,
  defer,
  filter,
  map,
  merge,
  mergeMap,
  type Observable,
  of,
  Subject,
  take,
  takeUntil,
  tap,
  throwError,
} from 'rxjs'
import type { Driver, Moved } from '../driver.js'
import { ClientClosedError, CommitError, ConfigurationError } from '../errors.js'
import type { Place } from '../events.js'
import { partitionName } from '../place.js'
import { withJson } from '../readable.js'
import type { Assignment } from './assignment.js'
import type { SeekTo, TopicSelection } from './client.js'
import type { Reports } from './reports.js'
import { configureSeek } from './seek-options.js'

export interface SeeksHost {
  readonly driver: Driver
  readonly reports: Reports
  readonly consuming: {
    readonly assignments: Iterable<Assignment>
    /** Emits an assignment whenever the broker has confirmed a position of it. */
    readonly confirmed: Observable<Assignment>
    /** Emits assignments as they end. */
    readonly ended: Observable<Assignment>
    /** Replaces assignments that a seek has ended, and commits the new positions. */
    onMoved(moved: readonly Moved[]): readonly Assignment[]
  }
  readonly hasGroup: boolean
  /** Tells which topics, by their full names, a user's selection means. @throws TopicNotRegisteredError */
  concerned(what: TopicSelection): (fullName: string) => boolean
}

/** The pending calls of `seek`. */
export class Seeks {
  readonly #cutOff = new Subject<ClientClosedError>()

  constructor(readonly host: SeeksHost) {}

  /** @throws ConfigurationError, TopicNotRegisteredError */
  seek(what: TopicSelection, to: SeekTo): Promise<readonly Place[]> {
    const { reports } = this.host
    const { partition, position } = configureSeek(to)
    const isConcerned = this.host.concerned(what)
    const { currentState } = reports
    if (currentState !== 'running') {
      throw new ConfigurationError(
        `seek: the client is not running (it is ${currentState}); wait until state is 'running'`,
      )
    }
    const assignments = [...this.host.consuming.assignments].filter(
      each =>
        each.reading.kind === 'topic' &&
        isConcerned(each.handle.topic) &&
        (partition === undefined || partition === each.partition),
    )
    const moved = new Promise<readonly Place[]>((resolve, reject) => {
      const places: Place[] = []
      this.#move(assignments, position).subscribe({
        next: place => places.push(place),
        error: error => {
          // Reported on `errors` for callers that ignore the promise.
          if (!(error instanceof ClientClosedError)) reports.error(error)
          reject(error)
        },
        complete: () =>
          resolve(places.sort((a, b) => (a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : a.partition - b.partition))),
      })
    })
    moved.catch(() => {})
    return moved
  }

  /** Emits each place once it is moved and committed. */
  #move(assignments: readonly Assignment[], to: number | 'earliest' | 'latest' | Date): Observable<Place> {
    const { driver, consuming } = this.host
    const open = new Map(assignments.map(each => [partitionName(each.handle), each]))
    const cutOff = this.#cutOff.pipe(
      map(error => {
        throw error
      }),
    )
    const moved = defer(() => driver.seek(assignments.map(({ handle }) => ({ assignment: handle, to })))).pipe(
      mergeMap(moves => consuming.onMoved(moves)),
      tap(({ handle }) => open.delete(partitionName(handle))),
      mergeMap(assignment => this.#committed(assignment)),
    )
    const unmoved = defer(() => {
      const [one] = open.values()
      if (one === undefined) return of()
      throw overtaken(one, 'before it was moved')
    })
    return concat(moved, unmoved).pipe(takeUntil(cutOff))
  }

  #committed(assignment: Assignment): Observable<Place> {
    const { consuming, hasGroup } = this.host
    const { topic, partition, handle } = assignment
    const place: Place = withJson({ topic, partition, offset: BigInt(handle.position) })
    if (!hasGroup || assignment.isCommitted) return of(place)
    if (assignment.ended) return throwError(() => overtaken(assignment, 'before its new position was committed'))
    const isThis = filter((other: Assignment) => other === assignment)
    return merge(
      consuming.confirmed.pipe(isThis),
      consuming.ended.pipe(
        isThis,
        tap(() => {
          throw overtaken(assignment, 'before its new position was committed')
        }),
      ),
    ).pipe(
      take(1),
      map(() => place),
    )
  }

  /** The client closes. */
  end(cause: unknown): void {
    this.#cutOff.next(new ClientClosedError('the client closed before the seek was done', { cause }))
  }
}

function overtaken(assignment: Assignment, when: string): CommitError {
  const name = partitionName(assignment)
  const message = `seek: ${name} was revoked or lost, or moved by another seek, ${when}; seek again where it is assigned now`
  return new CommitError(message, { retriable: true })
}
