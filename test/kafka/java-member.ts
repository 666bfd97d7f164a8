import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Subject } from 'rxjs'
import { Collected } from '../contract/collected'
import { javaProgram, kafkaClassPath } from './java'

const program = fileURLToPath(new URL('./JavaMember.java', import.meta.url))

export interface JavaMemberOptions {
  readonly brokers: readonly string[]
  readonly group: string
  readonly topic: string
  readonly protocol: 'classic' | 'consumer'
}

/** Kafka's own consumer as a member of a group, in its own process. */
export class JavaMember {
  readonly owned = new Set<number>()
  /** As `partition@offset`. */
  readonly read: string[] = []
  /** Every line it prints. */
  readonly lines: Collected<string>
  readonly #process: ChildProcess

  private constructor(process: ChildProcess) {
    this.#process = process
    const lines = new Subject<string>()
    this.lines = new Collected(lines)
    createInterface({ input: process.stdout! })
      .on('line', line => {
        this.#take(line)
        lines.next(line)
      })
      .on('close', () => lines.complete())
  }

  static async start({ brokers, group, topic, protocol }: JavaMemberOptions): Promise<JavaMember> {
    const quiet = '-Dorg.slf4j.simpleLogger.defaultLogLevel=error'
    const java = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', quiet, '-cp', await kafkaClassPath(), program]
    const child = spawn(javaProgram('java'), [...java, brokers.join(), group, topic, protocol], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    return new JavaMember(child)
  }

  #take(line: string): void {
    // The line of an empty list has only its first word.
    const [what, ...rest] = line.trim().split(' ')
    if (what === 'read') this.read.push(rest[0]!)
    else {
      for (const partition of rest.map(Number)) {
        if (what === 'assigned') this.owned.add(partition)
        else this.owned.delete(partition)
      }
    }
  }

  /** Leaves its group and ends. */
  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exited = once(this.#process, 'exit')
    this.#process.stdin!.end()
    await exited
  }
}
