import type { IncomingMessage } from 'node:http'
import { get } from 'node:http'
import { text as textOf } from 'node:stream/consumers'
import type { Identity, Message, Snapshot, StallsAnswer } from '../inspector/messages.js'
import { CommandFailure, exitCode, wrongUse } from './failure.js'

/** How long the inspector may send nothing, ms. While it sends events there are four messages a second. */
const maxSilence = 10_000
/** The longest message that is read. The page's own are far below. */
const maxMessageLength = 16 * 1024 * 1024
const messagesVersion: Identity['version'] = 1

/** Nothing answers at the address, the connection broke, or there is no room for one more viewer. A retry may succeed. */
export class UnreachableError extends CommandFailure {
  constructor(message: string, options?: { readonly cause?: unknown }) {
    super(message, exitCode.failed, options)
    this.name = 'UnreachableError'
  }
}

/** The inspector of a running process, as `inspect(client)` serves it. */
export class Inspected {
  readonly #url: URL

  /**
   * @param address What `inspect` returned as `url`, `host:port`, or a port of this machine.
   * @throws CommandFailure if the address cannot be one of an inspector.
   */
  constructor(address: string) {
    this.#url = urlOf(address)
  }

  get url(): string {
    return this.#url.href
  }

  /**
   * The records that hold positions back now: the first of each partition, or with `all` every record that is held, at most 1,000.
   *
   * Rejects with a `CommandFailure` if nothing listens there, or if the answer is not an inspector's.
   */
  async stalls(all: boolean, interrupted: AbortSignal): Promise<StallsAnswer> {
    const response = await this.#get(all ? '/stalls?all' : '/stalls', 'application/json', interrupted)
    let answer: Partial<StallsAnswer> | null
    try {
      answer = JSON.parse(await textOf(response))
    } catch (error) {
      interrupted.throwIfAborted()
      throw this.#notInspector(`its answer cannot be read: ${(error as Error).message}`)
    } finally {
      response.destroy()
    }
    if (!Array.isArray(answer?.stalls)) throw this.#notInspector('its answer names no stalls')
    this.#checkVersion(answer.identity)
    return answer as StallsAnswer
  }

  /**
   * The messages of `/events`: a snapshot, and then frames. Ends when the inspector ends the connection, and when
   * `interrupted` is aborted.
   *
   * Throws an `UnreachableError` if nothing listens there or if the connection breaks, and another `CommandFailure` if the answer
   * is not an inspector's.
   */
  async *messages(interrupted: AbortSignal): AsyncGenerator<Message, void, undefined> {
    const response = await this.#get('/events', 'text/event-stream', interrupted)
    response.setEncoding('utf8')
    let snapshot: Snapshot | undefined
    try {
      let unread = ''
      for await (const chunk of response) {
        const parts = (unread + chunk).split('\n\n')
        unread = parts.pop()!
        if (unread.length > maxMessageLength) throw this.#notInspector('its messages are too long')
        for (const part of parts) {
          if (!part.startsWith('data: ')) continue
          const message = this.#messageOf(part.slice('data: '.length), snapshot === undefined)
          if (message.type === 'snapshot') snapshot = message
          yield message
        }
      }
    } catch (error) {
      if (interrupted.aborted) return
      if (error instanceof CommandFailure) throw error
      const message = `the connection to ${this.url} broke: ${(error as Error).message}; the process may have ended`
      throw new UnreachableError(message, { cause: error })
    } finally {
      response.destroy()
    }
    if (snapshot === undefined) throw this.#notInspector('it sent no snapshot')
  }

  #messageOf(text: string, isFirst: boolean): Message {
    let message: Message | null
    try {
      message = JSON.parse(text)
    } catch (error) {
      throw this.#notInspector(`a message cannot be read: ${(error as Error).message}`)
    }
    if (message?.type !== (isFirst ? 'snapshot' : 'frame')) throw this.#notInspector('it sent an unknown message')
    if (message.type === 'snapshot') this.#checkVersion(message.identity)
    return message
  }

  #checkVersion(identity: { readonly version?: unknown } | undefined): void {
    if (identity?.version === messagesVersion) return
    throw this.#notInspector(
      `its messages have version ${identity?.version}, and this command reads ${messagesVersion}`,
    )
  }

  async #get(path: string, type: string, interrupted: AbortSignal): Promise<IncomingMessage> {
    const response = await this.#answer(path, interrupted)
    const { statusCode, headers } = response
    if (statusCode === 200 && headers['content-type']?.startsWith(type) === true) return response
    const refusal = await refusalOf(response)
    response.destroy()
    if (refusal === undefined)
      throw this.#notInspector(
        `it answers ${path} by status ${statusCode} and ${headers['content-type'] ?? 'no content type'}`,
      )
    const advice =
      statusCode === 403
        ? '. Use the address that inspect() returned; a port that is forwarded must keep its number'
        : ''
    const message = `${this.url} refuses: ${refusal}${advice}`
    throw statusCode === 503 ? new UnreachableError(message) : new CommandFailure(message, exitCode.failed)
  }

  #answer(path: string, interrupted: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      let response: IncomingMessage | undefined
      const request = get(new URL(path, this.#url), { signal: interrupted, agent: false }, answered => {
        response = answered
        resolve(answered)
      })
      request.setTimeout(maxSilence, () => {
        const silent = new Error(`nothing came for ${maxSilence} ms; the process may be busy or stopped`)
        ;(response ?? request).destroy(silent)
      })
      request.on('error', (error: NodeJS.ErrnoException) => {
        if (interrupted.aborted) return reject(interrupted.reason)
        reject(this.#unreachable(error))
      })
    })
  }

  #unreachable(cause: NodeJS.ErrnoException): CommandFailure {
    const { code, message } = cause
    if (code === 'ECONNREFUSED') {
      const question = `is the process running, and does it call inspect(client, { port: ${this.#url.port || 80} })?`
      return new UnreachableError(`nothing listens at ${this.url}: ${question}`, { cause })
    }
    if (code?.startsWith('HPE_') === true) return this.#notInspector(`it does not speak HTTP (${message})`)
    return new UnreachableError(`${this.url} cannot be reached: ${message || code}`, { cause })
  }

  #notInspector(why: string): CommandFailure {
    return new CommandFailure(`${this.url} is not an inspector of rxmika: ${why}`, exitCode.failed)
  }
}

function urlOf(address: string): URL {
  const text = /^\d+$/.test(address) ? `127.0.0.1:${address}` : address
  const full = /^[a-z][a-z\d+.-]*:\/\//i.test(text) ? text : `http://${text}`
  const wrong = (what: string) =>
    wrongUse(`the address of the inspector ${what}: a URL such as http://127.0.0.1:9464/ (got '${address}')`)
  if (!URL.canParse(full)) throw wrong('must be what inspect() returned')
  const url = new URL(full)
  if (url.protocol !== 'http:') throw wrong('must begin with http://')
  if (url.username !== '' || url.password !== '') throw wrongUse('the address of the inspector must have no password')
  return new URL('/', url)
}

/** Why an inspector refuses the request, as it says in JSON. Undefined: the answer is not from an inspector. */
async function refusalOf(response: IncomingMessage): Promise<string | undefined> {
  const isRefusal = [403, 405, 500, 503].includes(response.statusCode ?? 0)
  if (!isRefusal || response.headers['content-type']?.startsWith('application/json') !== true) return undefined
  try {
    const { error } = JSON.parse(await textOf(response)) as { readonly error?: unknown }
    return typeof error === 'string' ? error : undefined
  } catch {
    return undefined
  }
}
