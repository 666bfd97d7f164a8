import { Subscription } from 'rxjs'
import type { Delivery, Rebalances } from '../delivery.js'

/** The rebalances of the clients whose records an operator has. */
export class RebalanceWatch {
  readonly #clients = new Set<Rebalances>()
  readonly #underWay = new Set<Rebalances>()
  readonly #listening = new Subscription()
  /** Of the record that came last: mostly, that of all. */
  #last: Rebalances | undefined

  /** @param changed Called when a client begins to give partitions up (true), and when that is over (false). */
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

  /** The record's partition may be given up now: nothing of it is to begin. */
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
