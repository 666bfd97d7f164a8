import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Subject } from 'rxjs'
import type { ConsumeRequest } from 'rxmika'
import { Collected } from '../contract/collected'
import { spawnStrictly } from '../strict-process'
import { watchdog } from './watchdog'

export interface MemberTask {
  readonly brokers: readonly string[]
  readonly request: ConsumeRequest
}

/** A commit for a partition that the member owns, or has owned. */
export interface CommitOrder {
  readonly partition: number
  readonly offset: number
}

export type MemberReport =
  | { readonly type: 'assigned' | 'lost' | 'revoked'; readonly partitions: readonly number[] }
  | { readonly type: 'read'; readonly partition: number; readonly offset: number }
  | { readonly type: 'commit'; readonly offset: number; readonly error?: string }
  | { readonly type: 'other'; readonly event: string }

const script = fileURLToPath(new URL('./member-program.ts', import.meta.url))

/** A consuming driver in its own process, which can be frozen. */
export class MemberProcess {
  readonly reports: Collected<MemberReport>
  readonly #process: ChildProcess
  readonly #guard: ReturnType<typeof watchdog>

  constructor(task: MemberTask) {
    const reports = new Subject<MemberReport>()
    this.reports = new Collected(reports)
    this.#process = spawnStrictly(script, [JSON.stringify(task)], {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    }).process
    this.#process.on('message', message => reports.next(message as MemberReport))
    this.#process.once('exit', () => reports.complete())
    // A frozen process would not notice that this process has ended.
    this.#guard = watchdog('kill -9 "$0"', String(this.#process.pid))
  }

  commit(order: CommitOrder): void {
    this.#process.send(order)
  }

  freeze(): void {
    this.#process.kill('SIGSTOP')
  }

  wake(): void {
    this.#process.kill('SIGCONT')
  }

  async end(): Promise<void> {
    const isRunning = this.#process.exitCode === null && this.#process.signalCode === null
    const exited = isRunning ? once(this.#process, 'exit') : undefined
    await this.#guard.end()
    await exited
  }
}
