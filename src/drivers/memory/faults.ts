import { CommitError, FetchError, isRxMikaError, PublishError, type RxMikaError } from '../../errors.js'
import { invalid } from '../../options.js'
import { placeName } from '../../place.js'

/** The requests that can be made to fail. */
export type FaultyRequest = 'produce' | 'commit' | 'fetch'

/** The errors that tests have set for the next requests of a kind. */
export class Faults {
  readonly #next: Record<FaultyRequest, unknown[]> = { produce: [], commit: [], fetch: [] }

  failNext(kind: FaultyRequest, error: unknown): void {
    if (!Object.hasOwn(this.#next, kind))
      throw invalid('failNext: kind', kind, "must be 'produce', 'commit' or 'fetch'")
    this.#next[kind].push(error)
  }

  produce(): PublishError | undefined {
    return this.#take('produce', error =>
      isRxMikaError(error, 'RXMIKA_PUBLISH')
        ? error
        : new PublishError(`publishing failed: ${message(error)}`, { cause: error, retriable: true }),
    )
  }

  commit(): CommitError | undefined {
    return this.#take('commit', error =>
      isRxMikaError(error, 'RXMIKA_COMMIT')
        ? error
        : new CommitError(`committing failed: ${message(error)}`, { cause: error, retriable: true }),
    )
  }

  fetch(topic: string, partition: number, offset: number): RxMikaError | undefined {
    return this.#take('fetch', error =>
      isRxMikaError(error)
        ? error
        : new FetchError(`fetching from ${placeName({ topic, partition, offset })} failed: ${message(error)}`, {
            cause: error,
            topic,
            partition,
            offset: BigInt(offset),
          }),
    )
  }

  #take<E>(kind: FaultyRequest, asError: (error: unknown) => E): E | undefined {
    return this.#next[kind].length === 0 ? undefined : asError(this.#next[kind].shift())
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
