import type { Delivery, Supply } from '../delivery.js'

/** The topics whose records an operator gets. It suspends them while it has enough records. */
export class SupplyWatch {
  readonly #supplies = new Set<Supply>()
  /** The supply of the previous record; usually the only one. */
  #last: Supply | undefined
  #suspended = false

  /** Called for every record. */
  attend(delivery: Delivery | undefined): void {
    const supply = delivery?.owner.supply
    if (supply === undefined || supply === this.#last) return
    this.#last = supply
    if (this.#supplies.has(supply)) return
    this.#supplies.add(supply)
    if (this.#suspended) supply.suspend()
  }

  suspend(): void {
    if (this.#suspended) return
    this.#suspended = true
    for (const supply of this.#supplies) supply.suspend()
  }

  resume(): void {
    if (!this.#suspended) return
    this.#suspended = false
    for (const supply of this.#supplies) supply.resume()
  }
}
