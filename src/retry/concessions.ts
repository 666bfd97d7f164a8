import type { Clock } from '../clock.js'
import type { PublishError } from '../errors.js'

/** Kafka's word for none. */
const noTimestamp = -1

/** How much of a copy's own headers is written. */
type Detail =
  | 'full'
  /** Without the stack trace, and with the beginning of the message. */
  | 'short'
  /** What a client must have to deliver the copy again as what it was, and no more. */
  | 'least'

interface Size {
  readonly detail: Detail
  readonly compression: 'gzip' | undefined
}

/**
 * What is tried in turn where a copy is too large: its own headers give way first. Compressed it may be small enough with
 * all of them, as its source was: a topic's limit counts compressed bytes, and other producers compress.
 */
const sizes: readonly Size[] = [
  { detail: 'full', compression: undefined },
  { detail: 'short', compression: undefined },
  { detail: 'least', compression: undefined },
  { detail: 'full', compression: 'gzip' },
  { detail: 'least', compression: 'gzip' },
]

/**
 * What a copy goes without after the broker refused it, so that the last resort takes whatever Kafka took: a copy is
 * refused for what it can do without only where a record that Kafka accepted would be poison for it.
 */
export class Concessions {
  #size = 0
  #time: 'its own' | 'present' | 'none' = 'its own'

  get detail(): Detail {
    return sizes[this.#size]!.detail
  }

  get compression(): 'gzip' | undefined {
    return sizes[this.#size]!.compression
  }

  /** The copy's timestamp, of a record that has this one. */
  timestamp(own: number, clock: Clock): number {
    if (this.#time === 'its own') return own
    return this.#time === 'present' ? clock.wall() : noTimestamp
  }

  /** True: there was something left to give up, and the copy can be made anew. */
  concede({ reason }: PublishError): boolean {
    if (reason === 'INVALID_TIMESTAMP') {
      if (this.#time === 'none') return false
      // Whoever is refused at the present time has another present than the broker. None is taken by every topic.
      this.#time = this.#time === 'its own' ? 'present' : 'none'
      return true
    }
    const isTooLarge = reason === 'MESSAGE_TOO_LARGE' || reason === 'RECORD_LIST_TOO_LARGE'
    if (!isTooLarge || this.#size === sizes.length - 1) return false
    this.#size++
    return true
  }
}
