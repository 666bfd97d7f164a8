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
  /** The port to listen on. Defaults to 0: a free port, which is then part of `url`. */
  readonly port?: number | undefined
  /**
   * The host name or address to listen on. Defaults to `127.0.0.1`.
   *
   * There is no login. If others can reach the address, they see topics, partitions, offsets, record keys, group names and
   * error messages. They never see values or headers.
   */
  readonly host?: string | undefined
}

/** A running inspector server. */
export interface Inspector {
  /** The address of the page, such as `http://127.0.0.1:46123/`. */
  readonly url: string
  /**
   * Stops the server and closes its connections. The client keeps running. Calling it again returns the same promise.
   *
   * The inspector also closes by itself when the client closes.
   */
  close(): Promise<void>
}

const known: KnownOptions<InspectOptions> = { port: true, host: true }

/** Limit on open connections, including those of viewers. */
const maxConnections = 64

/**
 * Serves a live page that shows what a client does and what it waits for: partitions as marble diagrams, records in flight,
 * positions held back and why, retries and when they are due, and dead letters, rebalances and errors since this call.
 *
 * The page is read-only. By default the server listens on 127.0.0.1. A request with a foreign `Host` or `Origin` is refused.
 * While no viewer is connected, a record that succeeds costs nothing. The inspector closes with the client, and does not keep
 * the process alive.
 *
 * Rejects with a `ConfigurationError` if an option is invalid or unknown, if `client` is not a client, or if the server
 * cannot listen on the port. Rejects with a `ClientClosedError` if the client is closed.
 *
 * @example
 * const { url } = await inspect(client)
 * console.log(`inspector: ${url}`)
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
  // Neither the server nor a viewer keeps the process alive.
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

/** Rejects with a ConfigurationError if the server cannot listen there. */
function listening(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(new ConfigurationError(`inspect: ${reasonOf(error, port, host)}`, { cause: error }))
    })
    server.listen({ port, host }, resolve)
  })
}

function reasonOf({ code, message }: NodeJS.ErrnoException, port: number, host: string): string {
  if (code === 'EADDRINUSE')
    return `port ${port} of ${host} is in use; choose another port, or omit the option to use a free one`
  if (code === 'EACCES') return `port ${port} of ${host} needs rights that this process does not have`
  return `cannot listen on ${host}: ${message}`
}
