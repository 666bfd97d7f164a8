import { Doorbell } from './doorbell.js'
import type { Broker } from './kafkajs-internals.js'

/**
 * The id that the group has given a newcomer. The group gives it first, and the newcomer asks again by it (KIP-394);
 * kafkajs does both in one call, and the second answer takes as long as others need to let go. By the id the member can
 * leave meanwhile, or ask once more when the answer is lost.
 */
export class GivenId {
  #id: string | undefined
  #joining: Promise<unknown> | undefined
  readonly #bell = new Doorbell()

  get id(): string | undefined {
    return this.#id
  }

  /** The broker with its requests to join overheard; `ended` is asked before each is sent. */
  overhear(broker: Broker, ended: () => boolean): Broker {
    const lookupRequest: Broker['lookupRequest'] = (apiKey, definitions) => {
      const protocol = broker.lookupRequest(apiKey, definitions)
      return request => {
        const { memberId } = request as { memberId?: string }
        if (memberId) this.#id = memberId
        this.#bell.ring()
        if (ended()) throw new Error('the member has left its group')
        return protocol(request)
      }
    }
    return Object.create(broker, { lookupRequest: { value: lookupRequest } })
  }

  /** A request to join is under way. */
  asked<T>(answer: Promise<T>): Promise<T> {
    this.#joining = answer
    return answer
  }

  /** Resolves when the id is known or none will come, and at the latest after `ms`. */
  async known(ms: number): Promise<void> {
    if (this.#id !== undefined || this.#joining === undefined) return
    const ring = () => this.#bell.ring()
    this.#joining.then(ring, ring)
    await this.#bell.wait(ms)
  }

  /** The group does not know it any more. */
  forget(): void {
    this.#id = undefined
  }
}
