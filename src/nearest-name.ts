/**
 * Names of options in other Kafka clients, and related words. Keys are in lower case, without dots, underscores, hyphens
 * and a trailing unit of time. It has no prototype, because any name may be looked up.
 */
const synonyms: Readonly<Record<string, readonly string[]>> = Object.assign(Object.create(null), {
  abortsignal: ['signal'],
  attempts: ['retries'],
  autocommitinterval: ['commitInterval'],
  autooffsetreset: ['startFrom'],
  body: ['value'],
  bootstrapservers: ['brokers'],
  certificate: ['cert'],
  consumergroup: ['group'],
  data: ['value'],
  deadletter: ['dlq'],
  deadletterqueue: ['dlq', 'dlqTopic'],
  deadlettertopic: ['dlqTopic'],
  delay: ['backoff'],
  deserializer: ['decode'],
  frombeginning: ['startFrom'],
  groupid: ['group'],
  groupname: ['group'],
  hosts: ['brokers'],
  initialdelay: ['initial'],
  initialretrytime: ['initial'],
  log: ['logger'],
  loglevel: ['logger'],
  maxattempts: ['attempts', 'retries'],
  maxdelay: ['max'],
  maxfailures: ['failures'],
  maximum: ['max'],
  maxpollrecords: ['maxInFlight'],
  maxretries: ['retries'],
  message: ['value'],
  messages: ['value'],
  multiplier: ['factor'],
  offsetreset: ['startFrom'],
  onerror: ['onFail'],
  onfailure: ['onFail'],
  parallelism: ['concurrency'],
  partitionsconsumedconcurrently: ['concurrency'],
  payload: ['value'],
  predicate: ['filter'],
  privatekey: ['key'],
  retry: ['retries'],
  retrydelay: ['backoff'],
  schema: ['decode'],
  servers: ['brokers'],
  threshold: ['failures'],
  tls: ['ssl'],
  user: ['username'],
  window: ['within'],
} satisfies Record<string, readonly string[]>)

/**
 * Returns the known name that `name` most likely stands for; undefined if none is near.
 *
 * Tried in this order: the same word in another spelling (`max_in_flight`, `timeoutMs`), a name that other clients use
 * (`groupId`), a typing error of a few letters (`gruop`), and a longer or shorter form (`maxim` for `max`).
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const word = plain(name)
  const same = known.find(candidate => plain(candidate) === word)
  if (same !== undefined) return same
  const synonym = synonyms[word]?.find(candidate => known.includes(candidate))
  if (synonym !== undefined) return synonym
  let nearest: string | undefined
  let least = Number.POSITIVE_INFINITY
  for (const candidate of known) {
    const other = plain(candidate)
    const slips = distance(word, other)
    if (slips > allowedSlips(Math.min(word.length, other.length))) continue
    // Of two equally near names, prefer the one with the longer common start: `sal` is `sasl` and not `ssl`.
    const rank = slips - commonStart(word, other) / 100
    if (rank < least) {
      least = rank
      nearest = candidate
    }
  }
  return nearest ?? known.find(candidate => extend(word, plain(candidate)))
}

function plain(name: string): string {
  const word = name.toLowerCase().replace(/[^a-z0-9]/g, '')
  return word.replace(/(?<=.{3})(milliseconds|millis|ms)$/, '')
}

/** At most a third of the letters may differ, and at most three: `tls` is not a typing error of `dlq`. */
function allowedSlips(length: number): number {
  return Math.min(3, Math.floor(length / 3))
}

function commonStart(one: string, other: string): number {
  let at = 0
  while (at < one.length && one[at] === other[at]) at++
  return at
}

function extend(one: string, other: string): boolean {
  return Math.min(one.length, other.length) >= 3 && (one.startsWith(other) || other.startsWith(one))
}

/** The number of letters inserted, left out, replaced, or swapped with their neighbour (optimal string alignment). */
function distance(one: string, other: string): number {
  // Option names are short. A long name is not a typing error, and the cost below grows with its square.
  if (Math.abs(one.length - other.length) > 3) return Number.POSITIVE_INFINITY
  let before: number[] = []
  let row = Array.from({ length: other.length + 1 }, (_, at) => at)
  for (let i = 1; i <= one.length; i++) {
    const next = [i]
    for (let j = 1; j <= other.length; j++) {
      const replaced = row[j - 1]! + (one[i - 1] === other[j - 1] ? 0 : 1)
      let slips = Math.min(replaced, row[j]! + 1, next[j - 1]! + 1)
      const swapped = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]
      if (swapped) slips = Math.min(slips, before[j - 2]! + 1)
      next.push(slips)
    }
    before = row
    row = next
  }
  return row[other.length]!
}
