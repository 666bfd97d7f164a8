import type { Client, ClientEvent, ConsumeRecord, Outcome, Place, RecordSource } from 'rxmika'
import colors from 'yoctocolors'
import { MarbleDiagram, type Paint } from './marble-diagram'

/** The value of a record. The name is one letter, by which the diagram shows the order. */
export interface Order {
  readonly name: string
  readonly customer: string
}

type OrderRecord = ConsumeRecord<Order | null>
type Partition = Pick<RecordSource, 'topic' | 'partition'>

const plain: Paint = text => text
const paint = (color: Paint): Paint => (process.stdout.isTTY ? color : plain)
const dim = paint(colors.dim)
const bold = paint(colors.bold)
const green = paint(colors.greenBright)
const red = paint(colors.redBright)
const yellow = paint(colors.yellowBright)
const blue = paint(colors.cyan)

const width = 98
/** The demo writes to at most this many partitions. */
const maxPartitions = 3

/** Prints what happens to the orders line by line, and draws it at the end. */
export class Story {
  readonly #began = performance.now()
  readonly #diagram = new MarbleDiagram()
  readonly #rows: string[] = []
  #partitions = 0
  /** The names of delivered orders, by the place where they were read. */
  readonly #names = new Map<string, string>()
  /** By partition: the acked orders in the order of their acks, and the committed position. */
  readonly #acked = new Map<string, { readonly name: string; readonly offset: bigint }[]>()
  readonly #committed = new Map<string, bigint>()

  constructor(client: Client) {
    client.events.subscribe(event => this.#see(event))
  }

  /** How many partitions of the topic the demo uses. */
  get partitions(): number {
    return Math.min(this.#partitions, maxPartitions)
  }

  title(text: string): void {
    console.log(`\n ${bold(text)}\n`)
  }

  tell(what: string, text: string, color = plain): void {
    const seconds = `${(this.#now / 1_000).toFixed(2)} s`
    console.log(` ${dim(seconds.padStart(7))}  ${color(what.padEnd(9))} ${text}`)
  }

  fail(why: unknown): void {
    process.exitCode = 1
    this.tell('error', String(why), red)
  }

  delivered({ value, source }: OrderRecord): void {
    this.#names.set(placeOf(source), value!.name)
    this.#mark(rowOf(source), value!.name)
  }

  settled({ record, status }: Outcome<OrderRecord>): void {
    const { source, attempt } = record
    const { name } = record.value!
    if (status === 'failed') return this.#mark(rowOf(source), `${name}✗`, red)
    this.#mark(rowOf(source), name.toUpperCase(), green)
    getOrAdd(this.#acked, partitionOf(source), () => []).push({ name, offset: source.offset })
    if (source.kind === 'retry') this.tell('acked', `${name}: attempt ${attempt} succeeds`, green)
    if (source.kind === 'dlq') this.tell('acked', `${name}: succeeds when it is read from the DLQ topic`, green)
  }

  draw(): void {
    this.title('The same as a diagram; time goes from left to right')
    for (const line of this.#diagram.render(width, dim)) console.log(` ${line}`)
    const legend = [
      ['a', plain, 'delivered'],
      ['A', green, 'acked'],
      ['a✗', red, 'failed'],
      ['↓a', yellow, 'its copy is written'],
      ['3', blue, 'committed position'],
      ['|', plain, 'closed'],
    ] as const
    console.log(`\n ${legend.map(([mark, color, means]) => `${color(mark)} ${dim(means)}`).join('    ')}\n`)
  }

  #see(event: ClientEvent): void {
    switch (event.type) {
      case 'assigned':
        if (event.topic === 'orders') this.#partitions++
        return
      case 'retried':
        return this.#seeRetry(event, event.attempt, event.reason)
      case 'dead-lettered':
        return this.#seeDeadLetter(event, event.attempt)
      case 'committed':
        return this.#seeCommit(event)
      case 'state':
        if (event.state === 'running') this.#begin()
        if (event.state === 'closed') this.#end()
    }
  }

  #seeRetry(place: Place, attempt: number, reason: unknown): void {
    const name = this.#names.get(placeOf(place))!
    const why = reason instanceof Error ? reason.message : reason
    this.#mark('retry', `↓${name}`, yellow)
    this.tell('retried', `${name}: attempt ${attempt} failed, ${why}; a copy is on the retry topic`, yellow)
  }

  #seeDeadLetter(place: Place, attempt: number): void {
    const name = this.#names.get(placeOf(place))!
    this.#mark('DLQ', `↓${name}`, yellow)
    this.tell('to DLQ', `${name}: attempt ${attempt} failed, and was the last; a copy is on the DLQ topic`, red)
  }

  #seeCommit(to: Place): void {
    const partition = partitionOf(to)
    const from = this.#committed.get(partition) ?? 0n
    // The position is the same: only the commit's metadata has changed.
    if (to.offset === from) return
    this.#committed.set(partition, to.offset)
    this.#mark(`${rowOf(to)} committed`, String(this.#positionOf(to)), blue)

    const acked = this.#acked.get(partition) ?? []
    const passed = acked.filter(({ offset }) => from <= offset && offset < to.offset)
    const last = passed.pop()
    const early = passed.filter(({ offset }) => last !== undefined && offset > last.offset).map(({ name }) => name)
    if (early.length === 0) return
    const why = `${early.join(' and ')} had been acked before ${last!.name}, and waited for it`
    this.tell('committed', `${partition} from ${from} to ${to.offset} at once: ${why}`, blue)
  }

  #begin(): void {
    for (let partition = 0; partition < this.partitions; partition++) this.#rows.push(`orders-${partition}`)
    this.#rows.push('retry', 'DLQ')
    for (const row of this.#rows) {
      this.#diagram.row(row, row, '─')
      this.#diagram.row(`${row} committed`, '  committed', ' ')
    }
  }

  #end(): void {
    const now = this.#now
    for (const row of this.#rows) this.#diagram.mark(row, now, '|', plain)
  }

  /** The retry and the DLQ topic have one row each. It shows the sum over their partitions: the number of completed copies. */
  #positionOf({ topic, offset }: Place): bigint {
    if (topic === 'orders') return offset
    let sum = 0n
    for (const [name, committed] of this.#committed) if (name.startsWith(`${topic}-`)) sum += committed
    return sum
  }

  #mark(row: string, text: string, color = plain): void {
    this.#diagram.mark(row, this.#now, text, color)
  }

  get #now(): number {
    return performance.now() - this.#began
  }
}

function placeOf({ topic, partition, offset }: Place): string {
  return `${topic}-${partition}@${offset}`
}

function partitionOf({ topic, partition }: Partition): string {
  return `${topic}-${partition}`
}

function rowOf({ topic, partition }: Partition): string {
  if (topic === 'orders-retry') return 'retry'
  return topic === 'orders-dlq' ? 'DLQ' : `${topic}-${partition}`
}

function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const value = map.get(key) ?? make()
  map.set(key, value)
  return value
}
