import type { ConnectionOptions } from 'node:tls'
import { checkOptions, invalid, invalidSecret, type KnownOptions } from '../options.js'
import type { SslOptions } from './client.js'

const known: KnownOptions<ConnectionOptions> = {
  allowPartialTrustChain: true,
  ALPNCallback: true,
  ALPNProtocols: true,
  ca: true,
  cert: true,
  checkServerIdentity: true,
  ciphers: true,
  clientCertEngine: true,
  crl: true,
  dhparam: true,
  ecdhCurve: true,
  enableTrace: true,
  honorCipherOrder: true,
  host: true,
  key: true,
  lookup: true,
  maxVersion: true,
  minDHSize: true,
  minVersion: true,
  passphrase: true,
  path: true,
  pfx: true,
  port: true,
  privateKeyEngine: true,
  privateKeyIdentifier: true,
  pskCallback: true,
  rejectUnauthorized: true,
  requestCert: true,
  secureContext: true,
  secureOptions: true,
  secureProtocol: true,
  servername: true,
  session: true,
  sessionIdContext: true,
  sessionTimeout: true,
  sigalgs: true,
  SNICallback: true,
  socket: true,
  ticketKeys: true,
  timeout: true,
}

/** Options that Node accepts beyond the types of its oldest supported version: those of `net.connect`, and newer ones. */
const alsoKnown = {
  allowHalfOpen: true,
  autoSelectFamily: true,
  autoSelectFamilyAttemptTimeout: true,
  blockList: true,
  certificateCompression: true,
  family: true,
  highWaterMark: true,
  hints: true,
  keepAlive: true,
  keepAliveInitialDelay: true,
  localAddress: true,
  localPort: true,
  noDelay: true,
  onread: true,
  requestOCSP: true,
  signal: true,
} as const

/** @throws ConfigurationError without the values, which may be keys. */
export function checkSsl(ssl: unknown): asserts ssl is SslOptions {
  if (typeof ssl === 'boolean') return
  const rule = "must be a boolean or an object with node:tls's options"
  if (typeof ssl !== 'object' || ssl === null || Array.isArray(ssl)) {
    // A short word is not a key, and shows where the value came from.
    const error = typeof ssl === 'string' && !/^\w{0,5}$/.test(ssl) ? invalidSecret : invalid
    throw error('ssl', ssl, rule)
  }
  checkOptions('ssl', ssl as object, { ...known, ...alsoKnown } as KnownOptions<object>)
}
