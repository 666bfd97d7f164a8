/** The address of a broker. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** `host:port`, with an IPv6 host in brackets. */
export function shownAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Parses `host:port` or `[host]:port`. The text was checked when the client was made. */
export function parseAddress(text: string): Address {
  const colon = text.lastIndexOf(':')
  const host = text.slice(0, colon)
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
  return { host: bare, port: Number(text.slice(colon + 1)) }
}
