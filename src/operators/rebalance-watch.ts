import { Subscription } from 'rxjs'
import type { Delivery, Rebalances } from '../delivery.js'

/** Watches the rebalances of the clients whose records an operator gets. */
export class RebalanceWatch {
  readonly #clients = new Set<Rebalances>()
  readonly #underWay = new Set<Rebalances>()
  readonly #listening = new Subscription()
  /** The client of the previous record; usually the only one. */
  #last: Rebalances | undefined

  /** @param changed Called with true when a client begins to give up partitions, and with false when that is over. */
  constructor(readonly changed: (underWay: boolean) => void) {}

  /** Called for every record, before `concerns`. */
  attend(delivery: Delivery | undefined): void {
    const client = delivery?.owner.rebalances
    if (client === undefined || client === this.#last) return
    this.#last = client
    if (this.#clients.has(client)) return
    this.#clients.add(client)
    if (client.underWay) this.#underWay.add(client)
    this.#listening.add(client.changes.subscribe(() => this.#change(client)))
  }

  get underWay(): boolean {
    return this.#underWay.size > 0
  }

  /** The record's partition may be revoked now: no work of it should begin. */
  concerns({ owner }: Delivery): boolean {
    return owner.givingUp
  }

  end(): void {
    this.#listening.unsubscribe()
  }

  #change(client: Rebalances): void {
    if (client.underWay) this.#underWay.add(client)
    else this.#underWay.delete(client)
    this.changed(client.underWay)
  }
}
