import { causes, isTlsRefusal, messageOf } from './protocol-error.js'

/** Why a broker cannot be reached, in words that name what to look at; `undefined` stands for no answer at all. */
export function connectionReason(error: unknown): string {
  if (error === undefined) return 'no answer; the port may be filtered, or the broker stand still'
  const [first] = causes(error)
  const why = messageOf(error).replace(/^Connection error: /, '')
  const code = codeOf(error)
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `${why} (the name does not resolve)`
  if (code === 'NOT_KAFKA') return why
  if (/before secure TLS connection/.test(why)) return `${why} (perhaps the port speaks no TLS: see ssl)`
  if (isTlsRefusal(error)) return `${why} (TLS: see ssl)`
  if (first?.name === 'KafkaJSConnectionClosedError') {
    return `${why}: it let us connect and answered nothing (perhaps it wants TLS, ssl, or a login, sasl)`
  }
  return why
}

function codeOf(error: unknown): unknown {
  for (const { code } of causes(error)) if (code !== undefined) return code
  return undefined
}
