import type { Row } from '../row.js'
import { backlog } from './backlog.js'
import { consume } from './consume.js'
import { latency } from './latency.js'
import { publish } from './publish.js'
import { retry } from './retry.js'
import { slow } from './slow.js'
import { stuck } from './stuck.js'

export const rows: { readonly [name: string]: Row } = { consume, slow, retry, publish, latency, stuck, backlog }
