import { type PartitionPlace, type RebalanceMessage, rebalanceChannel } from '../channels.js'
import type { Client } from '../client/client.js'
import type { Clock } from '../clock.js'
import { partitionName } from '../place.js'
import type { Happening } from './messages.js'

/** Limit on the partitions of each list that are named. */
const maxNamed = 8

/** Reports each rebalance of one client when it has ended. Works without a viewer too: rebalances are rare, and viewers come later. */
export class RebalanceWatch {
  readonly #began = new WeakMap<object, number>()

  constructor(
    readonly client: Client,
    readonly clock: Pick<Clock, 'monotonic' | 'wall'>,
    readonly report: (rebalance: Happening) => void,
  ) {
    rebalanceChannel.start.subscribe(this.#onStart)
    rebalanceChannel.asyncEnd.subscribe(this.#onEnd)
  }

  end(): void {
    rebalanceChannel.start.unsubscribe(this.#onStart)
    rebalanceChannel.asyncEnd.unsubscribe(this.#onEnd)
  }

  // The channels carry messages of all clients in the process.
  readonly #onStart = (message: unknown): void => {
    const { client } = message as RebalanceMessage
    if (client === this.client) this.#began.set(message as object, this.clock.monotonic())
  }

  readonly #onEnd = (message: unknown): void => {
    const rebalance = message as RebalanceMessage
    if (rebalance.client !== this.client) return
    const now = this.clock.monotonic()
    const took = now - (this.#began.get(rebalance) ?? now)
    this.report({ at: this.clock.wall(), type: 'rebalance', text: `${textOf(rebalance)} in ${took} ms` })
  }
}

function textOf({ added, revoked, lost, retained, cancelled }: RebalanceMessage): string {
  const lists = [
    ['added', added],
    ['revoked', revoked],
    ['lost', lost],
    ['retained', retained],
  ] as const
  const parts = lists
    .filter(([, partitions]) => partitions.length > 0)
    .map(([what, partitions]) => `${partitions.length} ${what} (${namesOf(partitions)})`)
  if (cancelled === true) parts.push('interrupted by close()')
  return parts.length === 0 ? 'no partitions' : parts.join(', ')
}

function namesOf(partitions: readonly PartitionPlace[]): string {
  const names = partitions.slice(0, maxNamed).map(partitionName).join(', ')
  return partitions.length > maxNamed ? `${names}, …` : names
}
