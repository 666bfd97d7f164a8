import { Subject } from 'rxjs'
import type { Rebalances } from '../record.js'

/** The rebalances of one client, as its pipelines see them. */
export class ClientRebalances implements Rebalances {
  readonly changes = new Subject<void>()
  #underWay = false

  get underWay(): boolean {
    return this.#underWay
  }

  /** Partitions may be given up; possibly more after an earlier call. */
  begin(): void {
    this.#underWay = true
    this.changes.next()
  }

  /** It is decided for every partition whether it is given up. */
  end(): void {
    if (!this.#underWay) return
    this.#underWay = false
    this.changes.next()
  }
}
