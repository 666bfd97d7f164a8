import type { IncomingMessage, ServerResponse } from 'node:http'
import { messageOf } from '../retry/reason.js'
import type { Guard } from './guard.js'
import { type Inspection, maxViewers } from './inspection.js'
import { type PageFile, pageFiles } from './page-files.js'

/** Limit on `last`, the length of the window that a marble test is written from, ms. */
const maxWindow = 600_000

/** The page loads nothing from other servers, runs only its own script file, and cannot be framed by another page. */
const headers = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const

/** Answers one request. Checks `Host` and `Origin` first, then the method, then the path. */
export async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  inspection: Inspection,
  guard: Guard,
): Promise<void> {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
  const url = parsed(request.url)
  if (url === undefined) return refuse(response, 400, 'the request target must be a path')
  const refusal = guard.refuses(request.headers, url.pathname)
  if (refusal !== undefined) return refuse(response, 403, refusal)
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD')
    return refuse(response, 405, 'the inspector is read-only: use GET or HEAD')
  }
  const isHead = request.method === 'HEAD'
  switch (url.pathname) {
    case '/events':
      return events(response, inspection, isHead)
    case '/stalls':
      return json(response, inspection.stalls(url.searchParams.has('all')), isHead)
    case '/test':
      return test(response, inspection, url.searchParams, isHead)
    default: {
      const file = (await pageFiles()).get(url.pathname)
      if (file === undefined) return refuse(response, 404, 'unknown path')
      return page(response, file, isHead)
    }
  }
}

/** Undefined if the request target is not a path. A target with a host would be for a proxy. */
function parsed(path = ''): URL | undefined {
  return path.startsWith('/') && URL.canParse(`http://localhost${path}`)
    ? new URL(`http://localhost${path}`)
    : undefined
}

function events(response: ServerResponse, inspection: Inspection, isHead: boolean): void {
  response.setHeader('content-type', 'text/event-stream; charset=utf-8')
  if (isHead) return void response.end()
  if (!inspection.hasRoom) {
    response.setHeader('retry-after', '10')
    return refuse(response, 503, `the inspector has ${maxViewers} viewers already, or is closing`)
  }
  response.writeHead(200)
  // The browser reconnects by itself, 1,000 ms after an interruption.
  response.write('retry: 1000\n\n')
  inspection.join(response)
}

async function test(
  response: ServerResponse,
  inspection: Inspection,
  parameters: URLSearchParams,
  isHead: boolean,
): Promise<void> {
  const last = Number(parameters.get('last') ?? 10_000)
  const until = parameters.has('until') ? Number(parameters.get('until')) : undefined
  const [topic, number] = [parameters.get('topic'), parameters.get('partition')]
  const partition = Number(number)
  const isPlace = topic === null ? number === null : number !== null && Number.isSafeInteger(partition)
  if (!(last > 0 && last <= maxWindow) || Number.isNaN(until) || !isPlace) {
    const rules = `last must be > 0 and ≤ ${maxWindow} (ms), until must be ms since 1970, and topic and partition must be given together`
    return refuse(response, 400, rules)
  }
  const window = topic === null ? { last, until } : { last, until, partition: { topic, partition } }
  json(response, await inspection.test(window), isHead)
}

function page(response: ServerResponse, { type, text }: PageFile, isHead: boolean): void {
  response.setHeader('content-type', `${type}; charset=utf-8`)
  response.end(isHead ? undefined : text)
}

function json(response: ServerResponse, document: object, isHead: boolean): void {
  response.setHeader('content-type', 'application/json; charset=utf-8')
  response.end(isHead ? undefined : JSON.stringify(document))
}

/** Answers a request whose handling threw. */
export function fail(response: ServerResponse, error: unknown): void {
  if (response.headersSent) response.destroy()
  else refuse(response, 500, messageOf(error))
}

function refuse(response: ServerResponse, status: number, error: string): void {
  response.statusCode = status
  json(response, { error }, false)
}
