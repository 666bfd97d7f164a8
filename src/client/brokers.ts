import { isIPv6 } from 'node:net'
import { ConfigurationError } from '../errors.js'
import { invalid } from '../options.js'

const rule = "must be a list of 'host:port', an IPv6 address in brackets: ['localhost:9092', '[::1]:9092']"

/**
 * @param source The option or the environment key of the value.
 * @throws ConfigurationError
 */
export function checkBrokers(source: string, brokers: unknown): readonly string[] {
  if (!Array.isArray(brokers) || brokers.length === 0) throw notBrokers(source, brokers)
  for (const broker of brokers) if (!isAddress(broker)) throw notBrokers(source, broker)
  return [...brokers]
}

function isAddress(broker: unknown): broker is string {
  if (typeof broker !== 'string') return false
  const [, bracketed, host, port] = /^(?:\[([^\]]*)\]|([^\s,/@:[\]]+)):(\d{1,5})$/.exec(broker) ?? []
  if (port === undefined || Number(port) === 0 || Number(port) > 65_535) return false
  return host !== undefined || isIPv6(bracketed!)
}

/** Hides a value with an `@`, because it may hold user:password@host. */
function notBrokers(source: string, value: unknown): ConfigurationError {
  if (typeof value !== 'string' || !value.includes('@')) return invalid(source, value, rule)
  return new ConfigurationError(`${source} ${rule} (got a value with an @); a login is set by the option sasl`)
}
