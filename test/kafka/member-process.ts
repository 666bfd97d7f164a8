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

/** To commit this for a partition that it holds, or held first. */
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

/** A driver that consumes in a process of its own, which can be frozen. */
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
    // Frozen, it would not notice that we are gone.
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
    const runs = this.#process.exitCode === null && this.#process.signalCode === null
    const exited = runs ? once(this.#process, 'exit') : undefined
    await this.#guard.end()
    await exited
  }
}
