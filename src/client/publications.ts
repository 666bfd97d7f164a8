import { Observable, type SchedulerLike, type Subscriber, type Subscription } from 'rxjs'
import { ClientClosedError, PublishError } from '../errors.js'
import type { PublishRecord, RecordMetadata } from '../publish.js'
import { Readable } from '../readable.js'
import type { Publisher } from './publisher.js'
import type { TopicNames } from './topic-names.js'

export interface PublicationsHost {
  readonly publisher: Publisher
  readonly names: TopicNames
  readonly scheduler: SchedulerLike
  /** Completes once publishing is possible, errors when it never will be. */
  readonly connected: Observable<never>
  /** Called when a publication has ended. */
  ended(): void
}

/**
 * The open calls of `publish`: each ends by itself, at its deadline, or with the client.
 *
 * There may be tens of thousands at once, so none has a timer or a subscription of its own: those with one timeout end in
 * the order they began, and one timer does for all of them.
 */
export class Publications {
  readonly #byTimeout = new Map<number, Lasting>()
  #open = 0
  #connected = false
  #ended = false

  constructor(readonly host: PublicationsHost) {}

  get open(): number {
    return this.#open
  }

  /** @param topics The records' topics as users name them. */
  publish(records: readonly PublishRecord[], topics: readonly string[], timeout: number): Observable<RecordMetadata[]> {
    return new Observable(subscriber => {
      if (this.#ended) return subscriber.error(new ClientClosedError())
      const { scheduler } = this.host
      const publication = new Publication(records, topics, scheduler.now() + timeout, subscriber)
      const lasting = this.#lasting(timeout)
      // Counted while it waits for the connection, too: a close waits for it in any case.
      this.#open++
      lasting.add(publication)
      subscriber.add(() => {
        this.#open--
        lasting.delete(publication)
        this.host.ended()
      })
      if (this.#connected) return publication.send(this.host)
      return this.host.connected.subscribe({
        error: error => subscriber.error(error),
        complete: () => {
          this.#connected = true
          publication.send(this.host)
        },
      })
    })
  }

  /** The client is closed. */
  end(): void {
    this.#ended = true
    for (const lasting of this.#byTimeout.values()) lasting.fail(() => new ClientClosedError())
  }

  #lasting(timeout: number): Lasting {
    let lasting = this.#byTimeout.get(timeout)
    if (lasting === undefined) {
      lasting = new Lasting(this.host.scheduler, timeout)
      this.#byTimeout.set(timeout, lasting)
    }
    return lasting
  }
}

/** The open publications of one timeout, in the order of their deadlines. */
class Lasting {
  readonly #open = new Set<Publication>()
  #timer: Subscription | undefined

  constructor(
    readonly scheduler: SchedulerLike,
    readonly timeout: number,
  ) {}

  add(publication: Publication): void {
    this.#open.add(publication)
    this.#timer ??= this.scheduler.schedule(() => this.#expire(), this.timeout)
  }

  delete(publication: Publication): void {
    this.#open.delete(publication)
    // A timer that nobody needs would keep the process.
    if (this.#open.size > 0) return
    this.#timer?.unsubscribe()
    this.#timer = undefined
  }

  fail(error: (publication: Publication) => unknown): void {
    for (const publication of this.#open) publication.subscriber.error(error(publication))
  }

  #expire(): void {
    this.#timer = undefined
    for (const publication of this.#open) {
      // A clock that was set back makes nobody wait for longer than once more.
      const now = this.scheduler.now()
      publication.deadline = Math.min(publication.deadline, now + this.timeout)
      const left = publication.deadline - now
      if (left > 0) return this.#restart(left)
      publication.subscriber.error(publication.timedOut(this.timeout))
    }
  }

  /** Whoever published again from within an error has started a timer already. */
  #restart(delay: number): void {
    this.#timer?.unsubscribe()
    this.#timer = this.scheduler.schedule(() => this.#expire(), delay)
  }
}

/** A place as users get it: it reads well in a log. */
class PublishedPlace extends Readable implements RecordMetadata {
  constructor(
    readonly topic: string,
    readonly partition: number,
    readonly offset: bigint,
  ) {
    super()
  }
}

class Publication {
  readonly #places: RecordMetadata[]
  #left: number
  #refusal: PublishError | undefined

  constructor(
    readonly records: readonly PublishRecord[],
    readonly topics: readonly string[],
    public deadline: number,
    readonly subscriber: Subscriber<RecordMetadata[]>,
  ) {
    this.#left = records.length
    this.#places = new Array(records.length)
  }

  send({ publisher, names }: PublicationsHost): void {
    if (this.#left === 0) this.#finish()
    this.records.forEach((record, at) => {
      publisher.send(record, {
        settle: result => {
          if (!result.ok) return this.subscriber.error(names.inError(result.error))
          this.#places[at] = new PublishedPlace(this.topics[at]!, result.partition, result.offset)
          if (--this.#left === 0) this.#finish()
        },
        again: error => {
          this.#refusal = error
          return !this.subscriber.closed
        },
      })
    })
  }

  timedOut(timeout: number): PublishError {
    const message = `publishing to ${[...new Set(this.topics)].join(', ')} was not acknowledged within ${timeout} ms`
    return new PublishError(message, { cause: this.#refusal, retriable: true, topic: this.topics[0] })
  }

  #finish(): void {
    this.subscriber.next(this.#places)
    this.subscriber.complete()
  }
}
