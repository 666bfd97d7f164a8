import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Subject } from 'rxjs'
import type { HeaderPair } from 'rxmika'
import { Collected } from '../../contract/collected'
import { goProgram } from '../go-program'

/** The program in `main.go`, which treats records as MiKa does. See {@link goProgram}. */
export const mikaProgram = () => goProgram('mika', fileURLToPath(new URL('.', import.meta.url)))

/** A record as the Go program reads it. */
export interface MikaRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly HeaderPair[]
}

export type MikaEvent =
  | { readonly type: 'assigned' | 'committed' }
  /** True: a record of another group. */
  | { readonly type: 'skipped'; readonly record: MikaRecord }
  | {
      readonly type: 'delivered'
      readonly record: MikaRecord
      /** As its headers say, or where it was read. */
      readonly originalTopic: string
      readonly retries: number
      readonly outcome: 'acked' | 'retried' | 'dead-lettered'
    }
  | { readonly type: 'error'; readonly error: string }

export type MikaDelivery = Extract<MikaEvent, { type: 'delivered' }>

export interface MikaFailing {
  /** Fails this many deliveries, of any records. Later ones are acked. */
  readonly times: number
  readonly message: string
  readonly retryable?: boolean
}

export interface MikaOptions {
  readonly brokers: readonly string[]
  readonly group: string
  readonly retryTopic: string
  readonly dlqTopic: string
  /** Appended to the group and all topics. */
  readonly suffix?: string
  /** The deliveries that it fails from the start. */
  readonly failing?: MikaFailing
  /** True: it does not read the retry topic. Defaults to false. */
  readonly pauseRetries?: boolean
  readonly topics: readonly { readonly name: string; readonly retries: number; readonly dlq: boolean }[]
}

export interface MikaNewRecord {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers?: readonly HeaderPair[]
  readonly timestamp: number
}

/** A Go process that is a member of a group, and its messages so far. */
export class Mika {
  readonly events: Collected<MikaEvent>
  readonly #events = new Subject<MikaEvent>()
  readonly #process: ChildProcess
  readonly #replies = new Map<number, { resolve(): void; reject(error: Error): void }>()
  #commands = 0

  private constructor(program: string) {
    this.events = new Collected(this.#events)
    this.#process = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface({ input: this.#process.stdout! }).on('line', line => this.#receive(JSON.parse(line, fromBase64)))
    this.#process.once('exit', code => {
      const ended = new Error(`the Go program ended with ${code}`)
      for (const { reject } of this.#replies.values()) reject(ended)
      this.#events.complete()
    })
  }

  /** Joins the group. Reads its topics from the committed position, or from the beginning if there is none. */
  static async start(program: string, options: MikaOptions): Promise<Mika> {
    const mika = new Mika(program)
    const { failing, ...rest } = options
    await mika.#command('start', { suffix: '', ...rest, ...(failing && failures(failing)) })
    return mika
  }

  get deliveries(): readonly MikaDelivery[] {
    return this.events.values.filter(event => event.type === 'delivered')
  }

  get skipped(): readonly MikaRecord[] {
    return this.events.values.flatMap(event => (event.type === 'skipped' ? [event.record] : []))
  }

  get errors(): readonly string[] {
    return this.events.values.flatMap(event => (event.type === 'error' ? [event.error] : []))
  }

  /** Resolves when `count` records have been delivered and settled, and their offsets committed. */
  async delivered(count: number): Promise<readonly MikaDelivery[]> {
    await this.#handled('delivered', count)
    return this.deliveries
  }

  /** Resolves when `count` records of other groups have been skipped, and their offsets committed. */
  async passedOver(count: number): Promise<readonly MikaRecord[]> {
    await this.#handled('skipped', count)
    return this.skipped
  }

  async #handled(type: MikaEvent['type'], count: number): Promise<void> {
    await this.events.until(events => {
      const nth = events.filter(event => event.type === type)[count - 1]
      const handled = nth !== undefined && events.slice(events.indexOf(nth)).some(event => event.type === 'committed')
      return handled || events.some(event => event.type === 'error')
    })
    if (this.errors.length > 0) throw new Error(this.errors.join('; '))
  }

  /** Fails the next deliveries. For existing records use the option `failing`, which applies from the start. */
  fail(failing: MikaFailing): Promise<void> {
    return this.#command('fail', failures(failing))
  }

  /** Writes the records, those of a partition as one batch, compressed if that makes them smaller. */
  produce(topic: string, records: readonly MikaNewRecord[]): Promise<void> {
    return this.#command('produce', { topic, records: records.map(toBase64) })
  }

  /** Begins to read the DLQ topic. */
  consumeDlq(): Promise<void> {
    return this.#command('dlq', {})
  }

  /** Leaves the group and ends the process. */
  async stop(): Promise<void> {
    if (this.#process.exitCode === null) await this.#command('stop', {})
    this.kill()
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }

  #command(name: string, parameters: object): Promise<void> {
    const id = ++this.#commands
    this.#process.stdin!.write(`${JSON.stringify({ id, do: name, ...parameters })}\n`)
    return new Promise((resolve, reject) => this.#replies.set(id, { resolve, reject }))
  }

  #receive(message: MikaEvent | { readonly type: 'done'; readonly reply: number; readonly error?: string }): void {
    if (message.type !== 'done') return this.#events.next(message)
    const reply = this.#replies.get(message.reply)!
    this.#replies.delete(message.reply)
    if (message.error === undefined) reply.resolve()
    else reply.reject(new Error(message.error))
  }
}

const failures = ({ times, message, retryable = true }: MikaFailing) => ({ times, message, retryable })

type Base64 = string | null

function fromBase64(name: string, value: unknown): unknown {
  const bytes = (text: Base64) => (text === null ? null : Buffer.from(text, 'base64'))
  if (name === 'key' || name === 'value') return bytes(value as Base64)
  if (name !== 'headers') return value
  // The reviver is called for inner values first, so header values are bytes by now.
  return (value as { name: Base64; value: Buffer | null }[]).map(pair => [String(bytes(pair.name)), pair.value])
}

function toBase64({ key, value, headers = [], timestamp }: MikaNewRecord) {
  const text = (bytes: Buffer | null): Base64 => bytes?.toString('base64') ?? null
  return {
    key: text(key),
    value: text(value),
    headers: headers.map(pair => ({ name: text(Buffer.from(pair[0])), value: text(pair[1]) })),
    timestamp,
  }
}
