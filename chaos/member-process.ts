import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { GroupProtocol } from 'rxmika'
import { now } from './clock'
import type { MemberTask } from './member'

const root = fileURLToPath(new URL('..', import.meta.url))
const script = fileURLToPath(new URL('./member.ts', import.meta.url))

/** The exit code of a member that closed before all its records were settled. */
export const notDrained = 3

export interface Ending {
  readonly time: number
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A shell command that kills every member whose files are in the folder `$0`, frozen ones too. */
export const KILL_MEMBERS = 'kill -9 $(cat "$0"/*.pid)'

/** A member's process, from its start to its end. */
export class MemberProcess {
  readonly journal: string
  /** The file with the client's log, and with the process's last output if it crashes. */
  readonly log: string
  /** Resolves once the process handles signals, or has ended. */
  readonly up: Promise<void>
  /** Resolves once the client is running, or the process has ended. */
  readonly running: Promise<void>
  readonly ended: Promise<Ending>
  ending: Ending | undefined
  readonly #process: ChildProcess

  constructor(
    readonly name: string,
    brokers: readonly string[],
    folder: string,
    groupProtocol: GroupProtocol,
  ) {
    this.journal = join(folder, `${name}.journal`)
    this.log = join(folder, `${name}.log`)
    const task: MemberTask = { name, brokers, groupProtocol, journal: this.journal }
    // Created here, because the member may be killed before it writes its first line.
    closeSync(openSync(this.journal, 'a'))
    const log = openSync(this.log, 'a')
    this.#process = spawn(process.execPath, ['--import', 'tsx', script, JSON.stringify(task)], {
      cwd: root,
      stdio: ['ignore', log, log, 'ipc'],
    })
    closeSync(log)
    const pid = join(folder, `${name}.pid`)
    writeFileSync(pid, `${this.#process.pid}\n`)
    this.ended = new Promise(resolve => {
      this.#process.once('exit', (code, signal) => {
        rmSync(pid, { force: true })
        this.ending = { time: now(), code, signal }
        resolve(this.ending)
      })
    })
    this.up = this.#received('up')
    this.running = this.#received('running')
  }

  /** Resolves once the process has sent the message, or has ended. */
  async #received(expected: string): Promise<void> {
    const received = new Promise<void>(resolve => {
      this.#process.on('message', message => {
        if (message === expected) resolve()
      })
    })
    await Promise.race([received, this.ended])
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }
}
