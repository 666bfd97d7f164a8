import type { IncomingHttpHeaders } from 'node:http'
import { networkInterfaces } from 'node:os'

/** Why a request is refused; undefined: it is not. */
export type Refusal = string | undefined

const loopback: readonly string[] = ['127.0.0.1', 'localhost', '[::1]']
const wildcards: readonly string[] = ['0.0.0.0', '::']

/**
 * Which requests are answered: those that name this server, and come from its own page or from no page.
 *
 * A page from elsewhere may have the browser resolve its own name to 127.0.0.1 (DNS rebinding): its requests have that name
 * as `Host`. Or it asks for this server's name: its requests have its own `Origin`, or `null`, or say that they cross sites.
 */
export class Guard {
  readonly #hosts: ReadonlySet<string>

  /** @param host What the server listens on. */
  constructor(host: string, port: number) {
    const names = isLoopback(host) ? [...loopback, bracketed(host)] : [...loopback, ...namesOf(host)]
    // The port of HTTP is left out by browsers.
    this.#hosts = new Set(
      names.flatMap(name => (port === 80 ? [name, `${name}:80`] : [`${name}:${port}`])).map(name => name.toLowerCase()),
    )
  }

  refuses(headers: IncomingHttpHeaders, path: string): Refusal {
    const host = headers.host?.toLowerCase()
    if (host === undefined || !this.#hosts.has(host)) return 'this host name is not its own'
    const { origin } = headers
    if (origin !== undefined && origin.toLowerCase() !== `http://${host}`) return 'requests of other pages are refused'
    const site = headers['sec-fetch-site']
    // A link to the page may stand anywhere: who follows it sees it, and the page with the link does not.
    const isVisit = path === '/' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
    if (site !== undefined && site !== 'same-origin' && site !== 'none' && !isVisit) {
      return 'requests of other pages are refused'
    }
    return undefined
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

function namesOf(host: string): string[] {
  if (!wildcards.includes(host)) return [bracketed(host)]
  // Addresses cannot be rebound; names are none of them.
  return Object.values(networkInterfaces()).flatMap(all => (all ?? []).map(({ address }) => bracketed(address)))
}

/** An address as URLs have it. */
export function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
