import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

/*
 * The ports are below the range that the system uses for outgoing connections. Within that range, while a killed node is away,
 * the system could give its port to an outgoing connection, even to one that reconnects to that node.
 */
const first = 20_000
const perProcess = 500
const processes = 24

/**
 * Ports on 127.0.0.1 that nothing listens on, and that no other process gets from this function while this one lives. A Kafka
 * binds its ports seconds after they were chosen.
 */
export const freePorts = async (count: number): Promise<number[]> => {
  share ??= ownShare()
  const { from } = await share
  const ports: number[] = []
  for (let tried = 0; ports.length < count; tried++) {
    if (tried === perProcess) throw new Error(`of the ports from ${from} to ${from + perProcess - 1} all are in use`)
    const port = from + 1 + (given++ % (perProcess - 1))
    if (await isFree(port)) ports.push(port)
  }
  return ports
}

let share: Promise<{ readonly from: number; readonly lock: Server }> | undefined
let given = 0

/** Listening on the first port of a share is the lock on the others: the system releases it, however the process ends. */
const ownShare = async () => {
  const start = Math.floor(Math.random() * processes)
  for (let at = 0; at < processes; at++) {
    const from = first + ((start + at) % processes) * perProcess
    const lock = await listening(from)
    if (lock !== undefined) return { from, lock: lock.unref() }
  }
  throw new Error(`${processes} processes use ports for tests already; stop some of them`)
}

const isFree = async (port: number): Promise<boolean> => {
  const server = await listening(port)
  if (server === undefined) return false
  server.close()
  await once(server, 'close')
  return true
}

const listening = async (port: number): Promise<Server | undefined> => {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
    return server
  } catch {
    return undefined
  }
}
