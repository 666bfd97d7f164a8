import { concat, defer, map, type Observable, Subject, takeUntil, throwError } from 'rxjs'
import type { Driver, ReadEvent, ReadRequest } from '../driver.js'
import { ClientClosedError } from '../errors.js'
import { ReadStream } from './read-stream.js'
import type { Reports } from './reports.js'

export interface ReadsHost {
  readonly driver: Driver
  readonly reports: Reports
  readonly rack: string | undefined
  /** Completes when a broker answers. */
  readonly connected: Observable<never>
}

/** The pending calls of `read`. They are independent of what the client consumes. */
export class Reads {
  /** Emits the reason when the client closes. */
  readonly #cutOff = new Subject<ClientClosedError>()
  #closed: ClientClosedError | undefined

  constructor(readonly host: ReadsHost) {}

  /** @param request Has the full name of the topic. */
  read(topic: string, request: Omit<ReadRequest, 'paused' | 'rack'>): ReadStream {
    const { rack } = this.host
    return new ReadStream(
      topic,
      paused => this.#events({ ...request, rack, ...(paused && { paused }) }),
      this.host.reports,
    )
  }

  #events(request: ReadRequest): Observable<ReadEvent> {
    const { driver, connected } = this.host
    const cutOff = this.#cutOff.pipe(
      map(error => {
        throw error
      }),
    )
    return defer(() => {
      if (this.#closed !== undefined) return throwError(() => this.#closed)
      return concat(
        connected,
        defer(() => driver.read(request)),
      )
    }).pipe(takeUntil(cutOff))
  }

  /** The client closes. */
  end(cause: unknown): void {
    const message = 'the client closed before the read was done; make another client to read on'
    this.#closed ??= new ClientClosedError(message, { cause })
    this.#cutOff.next(this.#closed)
  }
}
