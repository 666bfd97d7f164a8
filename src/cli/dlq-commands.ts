import { systemClock } from '../clock.js'
import { isRxMikaError } from '../errors.js'
import { partitionName } from '../place.js'
import { confirmed } from './confirmation.js'
import { type Connection, needDlqTopic } from './connection.js'
import type { Context } from './context.js'
import { type Disposal, Disposing, userAtHost } from './disposal.js'
import { wrongUse } from './failure.js'
import { type Letter, Letters, noGroup } from './letters.js'
import { hasRetries } from './redriven-copy.js'
import { positive, Selection, type SelectionFlags } from './selection.js'
import { isoTime, shortTime } from './time.js'

/** The pending letters, with everything known that completes letters. */
async function lettersOf({ connection, progress }: Context, flags: SelectionFlags): Promise<Letters> {
  const letters = new Letters(connection, new Selection(flags, connection.names, systemClock.wall()))
  progress.begin(`reading the notes on ${needDlqTopic(connection)}`)
  try {
    await letters.learn(records => progress.at(records))
  } finally {
    progress.end()
  }
  return letters
}

/** Calls `take` with each pending letter, beside a progress bar. */
async function eachOf(
  { connection, progress }: Context,
  letters: Letters,
  take: (letter: Letter) => void,
): Promise<void> {
  progress.begin(`reading ${needDlqTopic(connection)}`)
  try {
    for await (const letter of letters.pending(records => progress.at(records))) take(letter)
  } finally {
    progress.end()
  }
}

// ── ls ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Counts the pending letters by group, topic and error. */
export async function list(context: Context, flags: SelectionFlags): Promise<void> {
  const { output, json } = context
  const { names } = context.connection
  const letters = await lettersOf(context, flags)
  const kinds = new Map<
    string,
    { group: string; topic: string; error: string; count: number; oldest: number; newest: number }
  >()
  await eachOf(context, letters, ({ record, letter }) => {
    const group = names.user(letter.group ?? noGroup)
    const topic = names.user(letter.topic)
    const error = letter.errorName ?? ''
    const at = letter.failedAt ?? record.timestamp
    const key = JSON.stringify([group, topic, error])
    const kind = kinds.get(key)
    if (kind === undefined) kinds.set(key, { group, topic, error, count: 1, oldest: at, newest: at })
    else {
      kind.count++
      kind.oldest = Math.min(kind.oldest, at)
      kind.newest = Math.max(kind.newest, at)
    }
  })
  const sorted = [...kinds.values()].sort((one, other) => other.count - one.count)
  if (json) {
    for (const kind of sorted) output.json({ ...kind, oldest: isoTime(kind.oldest), newest: isoTime(kind.newest) })
  } else if (sorted.length === 0) output.note(nothingPending)
  else {
    output.table(
      ['group', 'topic', 'error', 'count', 'oldest', 'newest'],
      sorted.map(({ group, topic, error, count, oldest, newest }) => {
        return [group, topic, error, String(count), shortTime(oldest), shortTime(newest)]
      }),
    )
  }
}

// ── show ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface ShowFlags extends SelectionFlags {
  readonly value?: keyof typeof encodings
}

const encodings = {
  text: (bytes: Buffer) => bytes.toString(),
  json: (bytes: Buffer): unknown => {
    try {
      return JSON.parse(bytes.toString())
    } catch {
      return bytes.toString()
    }
  },
  hex: (bytes: Buffer) => bytes.toString('hex'),
}

/** Shows each pending letter: its place, what its headers say, key, value and headers. */
export async function show(context: Context, flags: ShowFlags): Promise<void> {
  const { output, json, connection } = context
  const { names } = connection
  const encode = encodings[flags.value ?? 'text']
  const letters = await lettersOf(context, flags)
  let isFirst = true
  for await (const { record, letter } of letters.pending()) {
    await output.caughtUp()
    if (!output.isRead) return
    const place = placeOf(record, connection)
    const deadLetter = {
      ...letter,
      ...(letter.offset !== undefined && { offset: String(letter.offset) }),
      ...(letter.group !== undefined && { group: names.user(letter.group) }),
      topic: names.user(letter.topic),
    }
    const key = record.key === null ? null : record.key.toString()
    const value = record.value === null ? null : encode(record.value)
    const headers = record.headerPairs.map(([header, bytes]) => [header, bytes === null ? null : bytes.toString()])
    if (json) output.json({ place, deadLetter, key, value, headers })
    else {
      if (!isFirst) output.line('')
      const { group, topic, partition, offset, retries, reason, errorName } = deadLetter
      const origin = partition === undefined ? topic : partitionName({ topic, partition })
      const fields = {
        failed: `${isoTime(letter.failedAt ?? record.timestamp)}, retries ${retries}`,
        group: group ?? 'not known',
        from: offset === undefined ? origin : `${origin}@${offset}`,
        reason: errorName === undefined ? reason : `${errorName}: ${reason}`,
        key: key ?? 'null',
        value: value === null ? 'null' : typeof value === 'string' ? value : JSON.stringify(value),
      }
      output.line(place)
      for (const [name, text] of Object.entries(fields)) output.line(`  ${name.padEnd(6)}  ${indented(text, 10)}`)
    }
    isFirst = false
  }
  if (isFirst && !json) output.note(nothingPending)
}

// ── redrive and discard ──────────────────────────────────────────────────────────────────────────────────────────────

export interface DisposalFlags extends SelectionFlags {
  readonly to?: 'retry' | 'original'
  readonly rate?: string
  readonly by?: string
  readonly auditTopic?: string
  readonly dryRun?: boolean
  readonly yes?: boolean
}

export async function redrive(context: Context, flags: DisposalFlags): Promise<void> {
  const to = flags.to ?? 'retry'
  if (to === 'retry' && context.connection.retryTopic === undefined) {
    throw wrongUse('no retry topic is named: set --retry-topic or KAFKA_RETRY_TOPIC, or use --to original')
  }
  await dispose(context, flags, { ...common(flags), done: 'redriven', to })
}

export async function discard(context: Context, flags: DisposalFlags): Promise<void> {
  await dispose(context, flags, { ...common(flags), done: 'discarded', to: undefined })
}

function common({ rate, by, auditTopic }: DisposalFlags) {
  return { rate: rate === undefined ? undefined : positive('--rate', rate), by: by ?? userAtHost(), auditTopic }
}

/** Pending letters, as they are before the command does anything. */
interface Plan {
  /** How many, by full name of the group. */
  readonly groups: ReadonlyMap<string, number>
  /** How many cannot be redriven to the retry topic, and where the first of them are. */
  readonly unretriable: number
  readonly examples: readonly string[]
}

async function planOf(context: Context, letters: Letters): Promise<Plan> {
  const groups = new Map<string, number>()
  const examples: string[] = []
  let unretriable = 0
  await eachOf(context, letters, each => {
    const group = each.letter.group ?? noGroup
    groups.set(group, (groups.get(group) ?? 0) + 1)
    if (!hasRetries(each) && unretriable++ < 3) examples.push(placeOf(each.record, context.connection))
  })
  return { groups, unretriable, examples }
}

async function dispose(context: Context, flags: DisposalFlags, disposal: Disposal): Promise<void> {
  const { output, connection, progress, json } = context
  const { names } = connection
  if (disposal.to === 'retry') await checkTopic(context, '--retry-topic', connection.retryTopic!)
  if (disposal.auditTopic !== undefined) await checkTopic(context, '--audit-topic', disposal.auditTopic)
  const letters = await lettersOf(context, flags)
  const { groups, unretriable, examples } = await planOf(context, letters)
  if (disposal.to === 'retry' && unretriable > 0) {
    throw wrongUse(
      `${lettersText(unretriable)} (${examples.join(', ')}) cannot be redriven to a retry topic, because neither this library nor MiKa wrote them. Choose others by --group or --offsets, or use --to original`,
    )
  }
  const { done } = disposal
  const where =
    disposal.to === undefined
      ? ''
      : disposal.to === 'retry'
        ? ` to ${connection.retryTopic}`
        : ' to their original topics'
  const named = (group: string) => (group === noGroup ? 'without a group' : `of group ${names.user(group)}`)
  for (const [group, count] of groups) {
    if (json && flags.dryRun === true) {
      output.json({ group: names.user(group), [done]: 0, pending: count, dryRun: true })
    } else {
      output.note(
        `${lettersText(count)} ${named(group)} ${flags.dryRun === true ? 'would' : 'will'} be ${done}${where}`,
      )
    }
  }
  if (groups.size === 0 && !json) output.note(nothingPending)
  if (groups.size === 0 || flags.dryRun === true) return
  if (flags.yes !== true) await confirmed('Go on?', context)
  for (const [group, total] of groups) {
    progress.begin(done === 'redriven' ? 'redriving' : 'discarding', total)
    let count = 0
    try {
      count = await new Disposing(context, disposal, group).run(letters, total, completed => progress.at(completed))
    } finally {
      progress.end()
    }
    const skipped = total - count
    if (json) output.json({ group: names.user(group), [done]: count, skipped })
    else {
      const rest = skipped === 0 ? '' : `; ${skipped} were completed by others meanwhile`
      output.line(`${lettersText(count)} ${named(group)} ${done}${where}${rest}`)
    }
  }
}

async function checkTopic({ connection: { admin, names } }: Context, flag: string, topic: string): Promise<void> {
  try {
    await admin.partitionsOf(names.full(topic))
  } catch (error) {
    if (isRxMikaError(error, 'RXMIKA_CONFIGURATION')) throw wrongUse(`${flag}: ${error.message}`)
    throw error
  }
}

// ── How things are shown ─────────────────────────────────────────────────────────────────────────────────────────────

const nothingPending = 'no pending dead letters'

function lettersText(count: number): string {
  return `${count} letter${count === 1 ? '' : 's'}`
}

function placeOf({ partition, offset }: Letter['record'], connection: Connection): string {
  return `${partitionName({ topic: needDlqTopic(connection), partition })}@${offset}`
}

/** The lines after the first one stand below its text. */
function indented(text: string, columns: number): string {
  return text.replaceAll('\n', `\n${' '.repeat(columns)}`)
}
