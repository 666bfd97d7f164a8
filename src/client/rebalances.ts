import { Subject } from 'rxjs'
import type { Rebalances } from '../record.js'

/** What one client's pipelines are told of its rebalances. */
export class ClientRebalances implements Rebalances {
  readonly changes = new Subject<void>()
  #underWay = false

  get underWay(): boolean {
    return this.#underWay
  }

  /** More partitions may be given up. */
  begin(): void {
    this.#underWay = true
    this.changes.next()
  }

  /** Every partition that could be given up was, or stays. */
  end(): void {
    if (!this.#underWay) return
    this.#underWay = false
    this.changes.next()
  }
}
