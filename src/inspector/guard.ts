import type { IncomingHttpHeaders } from 'node:http'
import { networkInterfaces } from 'node:os'

/** Why a request is refused. Undefined: the request is allowed. */
export type Refusal = string | undefined

const loopback: readonly string[] = ['127.0.0.1', 'localhost', '[::1]']
const wildcards: readonly string[] = ['0.0.0.0', '::']

/**
 * Decides which requests are answered: those whose `Host` names this server, and that come from its own page or from no page.
 *
 * A foreign page can reach this server in two ways. It can make its own name resolve to 127.0.0.1 (DNS rebinding); then
 * `Host` has that name. Or it can address this server by its real name; then `Origin` is foreign or `null`, or
 * `Sec-Fetch-Site` is neither `same-origin` nor `none`.
 */
export class Guard {
  readonly #hosts: ReadonlySet<string>

  /** @param host The host name or address that the server listens on. */
  constructor(host: string, port: number) {
    const names = isLoopback(host) ? [...loopback, bracketed(host)] : [...loopback, ...namesOf(host)]
    // Browsers omit port 80 in `Host`.
    this.#hosts = new Set(
      names.flatMap(name => (port === 80 ? [name, `${name}:80`] : [`${name}:${port}`])).map(name => name.toLowerCase()),
    )
  }

  refuses(headers: IncomingHttpHeaders, path: string): Refusal {
    const host = headers.host?.toLowerCase()
    if (host === undefined || !this.#hosts.has(host)) return 'the Host header does not name this server'
    const { origin } = headers
    if (origin !== undefined && origin.toLowerCase() !== `http://${host}`)
      return 'requests from other origins are refused'
    const site = headers['sec-fetch-site']
    // Any page may link to this one: the person who follows the link sees the answer, and the page with the link does not.
    const isVisit = path === '/' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
    if (site !== undefined && site !== 'same-origin' && site !== 'none' && !isVisit) {
      return 'requests from other origins are refused'
    }
    return undefined
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

function namesOf(host: string): string[] {
  if (!wildcards.includes(host)) return [bracketed(host)]
  // Addresses only: a name could be rebound to this machine, an address cannot.
  return Object.values(networkInterfaces()).flatMap(all => (all ?? []).map(({ address }) => bracketed(address)))
}

/** An address as it is written in a URL: IPv6 in brackets. */
export function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
