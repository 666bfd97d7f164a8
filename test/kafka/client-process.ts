import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Subject } from 'rxjs'
import type { ClientOptions, ClientState, CloseReport } from 'rxmika'
import { onTestFinished } from 'vitest'
import { Collected } from '../contract/collected'
import { spawnStrictly } from '../strict-process'
import { watchdog } from './watchdog'

export interface ClientTask {
  readonly topic: string
  /** The options that can be sent as text. */
  readonly options: Pick<
    ClientOptions,
    | 'brokers'
    | 'group'
    | 'groupProtocol'
    | 'instanceId'
    | 'sessionTimeout'
    | 'heartbeatInterval'
    | 'rebalanceTimeout'
    | 'commitInterval'
  >
  readonly maxInFlight?: number
  /**
   * Which records it acks as soon as they are delivered: all, none, or all but the first of each partition.
   * A number: all, one after the other, this many ms apart.
   */
  readonly acks: 'all' | 'none' | 'all-but-first' | number
}

/** What a test tells the process to do. */
export type ClientCommand =
  | { readonly do: 'ack'; readonly partition: number; readonly offset: number }
  | { readonly do: 'close' | 'abort' }
  /** The process stops itself between two turns of its event loop, until SIGCONT. SIGSTOP from outside could hit a delivery. */
  | { readonly do: 'freeze' }
  | { readonly do: 'closeGracefully'; readonly timeout: number }

export type ClientMessage =
  | { readonly type: 'delivered'; readonly partition: number; readonly offset: number; readonly time: number }
  /** The result of `ack`. */
  | { readonly type: 'acked'; readonly partition: number; readonly offset: number; readonly counted: boolean }
  /** A record's signal was aborted. */
  | { readonly type: 'aborted'; readonly partition: number; readonly offset: number }
  | { readonly type: 'event'; readonly event: string; readonly partition?: number; readonly offset?: number }
  | { readonly type: 'state'; readonly state: ClientState }
  | { readonly type: 'error'; readonly name: string }
  | { readonly type: 'closed'; readonly report: CloseReport }

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

const script = fileURLToPath(new URL('./client-program.ts', import.meta.url))

/** A whole client in its own process, which ends by itself, is killed or is frozen. It ends with the test at the latest. */
export class ClientProcess {
  /** Everything that the process has reported. */
  readonly messages: Collected<ClientMessage>
  readonly exited: Promise<Exit>
  readonly #process: ChildProcess
  #delivered = 0

  constructor(task: ClientTask) {
    const messages = new Subject<ClientMessage>()
    // A running count: counting all messages at each of 10,000 deliveries would take longer than delivering.
    messages.subscribe(({ type }) => {
      if (type === 'delivered') this.#delivered++
    })
    this.messages = new Collected(messages)
    const { process: child, exited } = spawnStrictly(script, [JSON.stringify(task)], {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    })
    this.#process = child
    // A watchdog kills it, because a frozen process does not notice that this one has ended. The file is removed when the process
    // ends, because its id may be reused.
    const home = mkdtempSync(join(tmpdir(), 'rxmika-client-'))
    const pid = join(home, 'pid')
    writeFileSync(pid, `${this.#process.pid}`)
    const guard = watchdog('kill -9 $(cat "$0/pid"); rm -rf "$0"', home)
    onTestFinished(() => guard.end())
    this.#process.once('exit', () => rmSync(pid, { force: true }))
    this.#process.on('message', sent => {
      for (const message of sent as readonly ClientMessage[]) messages.next(message)
    })
    this.exited = exited
    this.#process.once('close', () => messages.complete())
  }

  send(command: ClientCommand): void {
    this.#process.send(command)
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  /** Its messages of one kind. */
  all<T extends ClientMessage['type']>(type: T): Extract<ClientMessage, { type: T }>[] {
    return this.messages.values.filter(
      (message): message is Extract<ClientMessage, { type: T }> => message.type === type,
    )
  }

  async delivered(least: number): Promise<void> {
    await this.messages.until(() => this.#delivered >= least)
  }

  async event(name: string, least = 1): Promise<void> {
    await this.messages.until(() => this.all('event').filter(({ event }) => event === name).length >= least)
  }

  async running(): Promise<void> {
    await this.messages.until(() => this.all('state').some(({ state }) => state === 'running'))
  }

  async committed(partition: number, offset: number): Promise<void> {
    await this.messages.until(() =>
      this.all('event').some(
        message => message.event === 'committed' && message.partition === partition && message.offset! >= offset,
      ),
    )
  }
}
