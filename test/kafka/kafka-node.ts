import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { javaProgram } from './java'
import { run } from './run'
import type { Properties } from './server-properties'

/** A shell command that kills every node with a home in the folder `$0`, then removes the folder. */
export const KILL_NODES = 'kill -9 $(cat "$0"/*/pid); rm -rf "$0" || { sleep 1; rm -rf "$0"; }'

const quiet = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn'
const memory = ['-Xms256m', '-Xmx512m', '-XX:+UseSerialGC']

/** One Kafka process, whose home folder holds its properties, data, log and, while it runs, its process id. */
export class KafkaNode {
  private process?: ChildProcess
  private exited: Promise<unknown> = Promise.resolve()
  private readonly properties: string
  private readonly log: string
  private readonly pid: string

  constructor(
    private readonly home: string,
    private readonly classPath: string,
    /** More options of the JVM. */
    private readonly jvm: readonly string[],
    /** The address on which the node listens for clients. */
    readonly address: string,
    /** The advertised address of the node. */
    readonly advertised: string,
  ) {
    this.properties = join(home, 'server.properties')
    this.log = join(home, 'server.log')
    this.pid = join(home, 'pid')
  }

  async format(clusterId: string, properties: Properties, more: string[]): Promise<void> {
    mkdirSync(this.home, { recursive: true })
    writeFileSync(this.properties, text(properties))
    const tool = ['-cp', this.classPath, 'kafka.tools.StorageTool', 'format']
    // This JVM runs for half a second, which is too short for optimised compilation to pay off.
    const java = [...this.jvm, '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', quiet]
    await run(javaProgram('java'), [...java, ...tool, '-t', clusterId, '-c', this.properties, ...more])
  }

  start(): void {
    const log = openSync(this.log, 'a')
    // A separate process group, so that Ctrl-C reaches only this process, which then stops the nodes.
    const options: SpawnOptions = { stdio: ['ignore', log, log], detached: true }
    const args = [...memory, ...this.jvm, quiet, '-cp', this.classPath, 'kafka.Kafka', this.properties]
    const process = spawn(javaProgram('java'), args, options)
    closeSync(log)
    writeFileSync(this.pid, `${process.pid}\n`)
    process.once('exit', () => rmSync(this.pid, { force: true }))
    this.process = process
    this.exited = once(process, 'exit')
  }

  /** Rejects, with the end of the log, when the process ends. */
  async failure(): Promise<never> {
    await this.exited
    const lines = readFileSync(this.log, 'utf8').trimEnd().split('\n')
    throw new Error(`Kafka at ${this.address} ended. Its log ends with:\n${lines.slice(-30).join('\n')}`)
  }

  async kill(): Promise<void> {
    this.process?.kill('SIGKILL')
    await this.exited
  }

  /** Asks the process to end. */
  async terminate(): Promise<void> {
    this.process?.kill('SIGTERM')
    await this.exited
  }

  /** Resolves when the process has ended, or at once if there is none. */
  async end(): Promise<void> {
    await this.exited
  }

  /** Resolves once the process is stopped: the signal may take some milliseconds to reach it. */
  async pause(): Promise<void> {
    this.process?.kill('SIGSTOP')
    while (!(await this.state()).startsWith('T')) await setTimeout(5)
  }

  resume(): void {
    this.process?.kill('SIGCONT')
  }

  private async state(): Promise<string> {
    return (await run('ps', ['-o', 'state=', '-p', `${this.process?.pid}`])).trim()
  }
}

const text = (properties: Properties): string =>
  Object.entries(properties)
    .map(([key, value]) => `${key}=${String(value).replaceAll('\\', '\\\\')}\n`)
    .join('')
