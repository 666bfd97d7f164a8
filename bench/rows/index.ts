import type { Row } from '../row.js'
import { backlog } from './backlog.js'
import { commits } from './commits.js'
import { consume, consume1k, consume5m, gzip, headersRead, headersUnread, snappy } from './consume.js'
import { handling } from './handle.js'
import { latency } from './latency.js'
import { publish } from './publish.js'
import { read } from './read.js'
import { rebalance } from './rebalance.js'
import { retry } from './retry.js'
import { slow } from './slow.js'
import { start } from './start.js'
import { stuck } from './stuck.js'

/** In the order of docs/benchmarks.md. */
export const rows: { readonly [name: string]: Row } = {
  consume,
  '5m': consume5m,
  read,
  '1k': consume1k,
  headers: headersUnread,
  'headers-read': headersRead,
  gzip,
  snappy,
  handle: handling,
  slow,
  stuck,
  latency,
  retry,
  publish,
  backlog,
  commits,
  start,
  rebalance,
}
