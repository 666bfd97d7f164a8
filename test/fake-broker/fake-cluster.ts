import { type PartitionAnswer, produceAnswer, readProduceRequest, type SentPartition } from './produce-wire'
import { Replica } from './replica'

/** What the broker does with one batch. */
export interface Fate {
  /**
   * `true`: the leader's ordinary behaviour. `false`: nothing is appended. `'alone'`: appended by this broker, but not yet
   * by its followers. `'late'`: the batch arrives when `FakeCluster.arriveLate` is called.
   */
  readonly append: boolean | 'alone' | 'late'
  /** The error code of the answer. Absent: the leader's own. `'silence'`: no answer. `'cut'`: the connection breaks. */
  readonly answer?: number | 'silence' | 'cut'
}

/** How a request ended: with an answer's bytes, without any, or with a broken connection. */
export type Ending = Buffer | 'silence' | 'cut'

const asItIs: Fate = { append: true }

/** The brokers of a cluster with their replicas, as a producer sees them. */
export class FakeCluster {
  /** The leader of each partition, and its replicas by broker, by the name of the partition. */
  readonly #partitions = new Map<string, { leader: number; replicas: Replica[] }>()
  readonly #late: (() => void)[] = []
  #producerIds = 0n
  /** Every batch that reached a broker. */
  readonly arrived: (SentPartition & { readonly node: number })[] = []
  /** Decides what happens to batches that arrive. */
  fate: (sent: SentPartition & { readonly node: number }) => Fate = () => asItIs

  constructor(
    readonly nodes: number,
    readonly topics: ReadonlyMap<string, number>,
  ) {
    for (const [topic, partitions] of topics) {
      for (let partition = 0; partition < partitions; partition++) {
        const replicas = Array.from({ length: nodes }, () => new Replica())
        this.#partitions.set(`${topic}-${partition}`, { leader: partition % nodes, replicas })
      }
    }
  }

  leader(topic: string, partition: number): number {
    return this.#partition(topic, partition).leader
  }

  /** The log of the partition's leader. */
  log(topic: string, partition: number): Replica {
    const { leader, replicas } = this.#partition(topic, partition)
    return replicas[leader]!
  }

  /** Makes another broker the leader. Batches that only the old one had are lost. The old one answers NOT_LEADER_OR_FOLLOWER. */
  moveLeader(topic: string, partition: number, to: number): void {
    const entry = this.#partition(topic, partition)
    entry.leader = to
    for (const replica of entry.replicas) replica.follow(entry.replicas[to]!)
  }

  /** Replicates the leader's log to its followers. */
  replicate(topic: string, partition: number): void {
    const { leader, replicas } = this.#partition(topic, partition)
    for (const replica of replicas) replica.follow(replicas[leader]!)
  }

  newProducerId(): bigint {
    return ++this.#producerIds
  }

  /** A Produce request reaches a broker. */
  produce(node: number, request: Buffer, version: number): Ending {
    const answers: PartitionAnswer[] = []
    let ending: 'silence' | 'cut' | undefined
    for (const sent of readProduceRequest(request)) {
      this.arrived.push({ ...sent, node })
      const { append, answer } = this.fate({ ...sent, node })
      if (append === 'late') this.#late.push(() => this.#append(sent, node, false))
      const own = append === true || append === 'alone' ? this.#append(sent, node, append === 'alone') : undefined
      if (typeof answer === 'string') ending = answer
      const { code, base } = own ?? { code: 19, base: -1 }
      const { topic, partition } = sent
      const told = typeof answer === 'number' ? answer : code
      answers.push({ topic, partition, code: told, base: told === 0 ? base : -1 })
    }
    return ending ?? produceAnswer(answers, version)
  }

  /** Delivers late batches, long after the producer has given them up. */
  arriveLate(): void {
    for (const arrive of this.#late.splice(0)) arrive()
  }

  #append({ topic, partition, batch }: SentPartition, node: number, alone: boolean): { code: number; base: number } {
    const entry = this.#partition(topic, partition)
    if (entry.leader !== node) return { code: 6, base: -1 }
    const appended = entry.replicas[node]!.append(batch)
    if (!alone) this.replicate(topic, partition)
    return { code: appended.code, base: 'base' in appended ? appended.base : -1 }
  }

  #partition(topic: string, partition: number) {
    const entry = this.#partitions.get(`${topic}-${partition}`)
    if (entry === undefined) throw new Error(`there is no partition ${topic}-${partition}`)
    return entry
  }
}
