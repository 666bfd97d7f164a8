import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Client } from '../client/client.js'
import { ClientClosedError, ConfigurationError } from '../errors.js'
import { checkInteger, checkOptions, invalid, type KnownOptions } from '../options.js'
import { bracketed, Guard } from './guard.js'
import { Inspection } from './inspection.js'
import { answer, fail } from './routes.js'

/** The options of `inspect`. */
export interface InspectOptions {
  /** Default: 0, a free one, which `url` names. */
  readonly port?: number | undefined
  /**
   * What it listens on; default `127.0.0.1`. There is no login: with an address that others reach, they see places, keys,
   * names of groups and messages of errors, never values or headers.
   */
  readonly host?: string | undefined
}

/** A page that is served. */
export interface Inspector {
  /** `http://127.0.0.1:46123/` */
  readonly url: string
  /** Ends it and every connection; the client goes on. Calling it again is safe. It closes with the client by itself. */
  close(): Promise<void>
}

const known: KnownOptions<InspectOptions> = { port: true, host: true }

/** Connections at a time: viewers, and what asks for the page. */
const maxConnections = 64

/**
 * Serves one live page that shows what a client does and what it waits for: partitions as marble diagrams, what is in flight,
 * held back and why, retries and when they are due, dead letters since this call, rebalances and errors.
 *
 * It is read-only, and listens on 127.0.0.1. A request whose `Host` or `Origin` is not its own is refused. Nothing is done per
 * record while nobody looks. It closes with the client, and keeps no process alive.
 *
 * Rejects with `ConfigurationError` if an option is invalid or unknown, `client` is none or the port is taken, and with
 * `ClientClosedError` if the client is closed.
 *
 * @example
 * const { url } = await inspect(client)
 * console.log(`look at ${url}`)
 */
export async function inspect(client: Client, options: InspectOptions = {}): Promise<Inspector> {
  checkOptions('inspect', options, known)
  if (typeof (client as Partial<Client> | null | undefined)?.stalls !== 'function') {
    throw invalid('inspect: the client', client, 'must be a client that createClient made')
  }
  const { port = 0, host = '127.0.0.1' } = options
  checkInteger('inspect: port', port, 0, 65_535)
  if (typeof host !== 'string' || host === '') throw invalid('inspect: host', host, 'must be a non-empty string')
  if (client.currentState === 'closed') throw new ClientClosedError()

  const inspection = new Inspection(client)
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 })
  server.maxConnections = maxConnections
  try {
    await listening(server, port, host)
  } catch (error) {
    inspection.end()
    throw error
  }
  const { port: chosen } = server.address() as AddressInfo
  const guard = new Guard(host, chosen)
  server.on('request', (request, response) => {
    answer(request, response, inspection, guard).catch((error: unknown) => fail(response, error))
  })
  // Who looks on keeps no process alive.
  server.unref()
  server.on('connection', socket => socket.unref())

  let closed: Promise<void> | undefined
  const close = () => {
    closed ??= new Promise(resolve => {
      server.close(() => resolve())
      inspection.end(() => server.closeAllConnections())
    })
    return closed
  }
  client.closed.then(close, close)
  return { url: `http://${bracketed(host)}:${chosen}/`, close }
}

/** @throws ConfigurationError if it cannot listen there. */
function listening(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(new ConfigurationError(`inspect: ${reasonOf(error, port, host)}`, { cause: error }))
    })
    server.listen({ port, host }, resolve)
  })
}

function reasonOf({ code, message }: NodeJS.ErrnoException, port: number, host: string): string {
  if (code === 'EADDRINUSE') return `port ${port} of ${host} is in use; choose another, or leave it out for a free one`
  if (code === 'EACCES') return `port ${port} of ${host} needs rights that this process does not have`
  return `cannot listen on ${host}: ${message}`
}
