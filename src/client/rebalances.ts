import { Subject } from 'rxjs'
import type { Rebalances } from '../record.js'

/** The rebalances of one client, as its pipelines see them. */
export class ClientRebalances implements Rebalances {
  readonly changes = new Subject<void>()
  #underWay = false

  get underWay(): boolean {
    return this.#underWay
  }

  /** A rebalance may revoke partitions. Called again if it may revoke more. */
  begin(): void {
    this.#underWay = true
    this.changes.next()
  }

  /** No partition may be revoked any more: the rebalance has decided about all of them. */
  end(): void {
    if (!this.#underWay) return
    this.#underWay = false
    this.changes.next()
  }
}
