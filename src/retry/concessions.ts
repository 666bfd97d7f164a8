import type { Clock } from '../clock.js'
import type { PublishError } from '../errors.js'

/** Kafka's timestamp for none. */
const noTimestamp = -1

/** How many of this library's headers a copy gets. */
type Detail =
  | 'full'
  /** No stack trace, and only the beginning of the message. */
  | 'short'
  /** Only what a client needs to deliver the copy as the original record. */
  | 'minimal'

interface Size {
  readonly detail: Detail
  readonly compression: 'gzip' | undefined
}

/**
 * The forms of a copy that are tried in turn while it is too large. First this library's headers are reduced. Then the copy is compressed: a
 * topic's limit counts compressed bytes, so the source may have fitted only because its producer compresses.
 */
const sizes: readonly Size[] = [
  { detail: 'full', compression: undefined },
  { detail: 'short', compression: undefined },
  { detail: 'minimal', compression: undefined },
  { detail: 'full', compression: 'gzip' },
  { detail: 'minimal', compression: 'gzip' },
]

/**
 * What a copy gives up after the broker refused it. Without concessions, a record that Kafka accepted could be refused as a
 * copy because of something that the copy does not need.
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

  /** The timestamp of the copy. @param own The timestamp of the record. */
  timestamp(own: number, clock: Clock): number {
    if (this.#time === 'its own') return own
    return this.#time === 'present' ? clock.wall() : noTimestamp
  }

  /** Returns true if there was something left to give up, so that the copy can be made again. */
  concede({ reason }: PublishError): boolean {
    if (reason === 'INVALID_TIMESTAMP') {
      if (this.#time === 'none') return false
      // The present time is refused only if the broker's clock differs. Every topic accepts a record without a timestamp.
      this.#time = this.#time === 'its own' ? 'present' : 'none'
      return true
    }
    const isTooLarge = reason === 'MESSAGE_TOO_LARGE' || reason === 'RECORD_LIST_TOO_LARGE'
    if (!isTooLarge || this.#size === sizes.length - 1) return false
    this.#size++
    return true
  }
}
