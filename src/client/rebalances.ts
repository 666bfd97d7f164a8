import { Subject } from 'rxjs'
import type { Rebalances } from '../record.js'

/** What one client's pipelines are told of its rebalances. */
export class ClientRebalances implements Rebalances {
  readonly changes = new Subject<void>()
  #underWay = false

  get underWay(): boolean {
    return this.#underWay
  }

  set(underWay: boolean): void {
    if (underWay === this.#underWay) return
    this.#underWay = underWay
    this.changes.next()
  }
}
