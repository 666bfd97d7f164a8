import { type PartitionPlace, type RebalanceMessage, rebalanceChannel } from '../channels.js'
import type { Client } from '../client/client.js'
import type { Clock } from '../clock.js'
import { partitionName } from '../place.js'
import type { Happening } from './messages.js'

/** How many partitions of a list are named. */
const maxNamed = 8

/** Tells of each rebalance of one client once it is over: there are few, and somebody may look later. */
export class RebalanceWatch {
  readonly #began = new WeakMap<object, number>()

  constructor(
    readonly client: Client,
    readonly clock: Pick<Clock, 'monotonic' | 'wall'>,
    readonly told: (rebalance: Happening) => void,
  ) {
    rebalanceChannel.start.subscribe(this.#onStart)
    rebalanceChannel.asyncEnd.subscribe(this.#onEnd)
  }

  end(): void {
    rebalanceChannel.start.unsubscribe(this.#onStart)
    rebalanceChannel.asyncEnd.unsubscribe(this.#onEnd)
  }

  // Channels are of all clients in the process.
  readonly #onStart = (message: unknown): void => {
    const { client } = message as RebalanceMessage
    if (client === this.client) this.#began.set(message as object, this.clock.monotonic())
  }

  readonly #onEnd = (message: unknown): void => {
    const rebalance = message as RebalanceMessage
    if (rebalance.client !== this.client) return
    const now = this.clock.monotonic()
    const took = now - (this.#began.get(rebalance) ?? now)
    this.told({ at: this.clock.wall(), type: 'rebalance', text: `${textOf(rebalance)} in ${took} ms` })
  }
}

function textOf({ added, revoked, lost, retained, cancelled }: RebalanceMessage): string {
  const lists = [
    ['added', added],
    ['revoked', revoked],
    ['lost', lost],
    ['retained', retained],
  ] as const
  const parts = lists.filter(([, of]) => of.length > 0).map(([what, of]) => `${of.length} ${what} (${namesOf(of)})`)
  if (cancelled === true) parts.push('cut off by the close')
  return parts.length === 0 ? 'no partition' : parts.join(', ')
}

function namesOf(partitions: readonly PartitionPlace[]): string {
  const names = partitions.slice(0, maxNamed).map(partitionName).join(', ')
  return partitions.length > maxNamed ? `${names}, …` : names
}
