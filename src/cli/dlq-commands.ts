import { systemClock } from '../clock.js'
import { partitionName } from '../place.js'
import { confirmed } from './confirmation.js'
import { type Connection, needDlqTopic } from './connection.js'
import type { Context } from './context.js'
import { type Disposal, Disposing, whoever } from './disposal.js'
import { wrongUse } from './failure.js'
import { grouped } from './grouped.js'
import { type Letter, Letters } from './letters.js'
import { hasRetries } from './redriven-copy.js'
import { positive, Selection, type SelectionFlags } from './selection.js'

interface Found {
  readonly pending: Letters
  readonly letters: readonly Letter[]
}

async function find({ connection, progress }: Context, flags: SelectionFlags): Promise<Found> {
  const pending = new Letters(connection, new Selection(flags, connection.names, systemClock.wall()))
  progress.begin(`reading ${needDlqTopic(connection)}`)
  try {
    return { pending, letters: await pending.pending(records => progress.at(records)) }
  } finally {
    progress.end()
  }
}

// ── ls ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Counts the pending letters by group, topic and error. */
export async function list(context: Context, flags: SelectionFlags): Promise<void> {
  const { output, json } = context
  const { names } = context.connection
  const { letters } = await find(context, flags)
  const kinds = new Map<
    string,
    { group: string; topic: string; error: string; count: number; oldest: number; newest: number }
  >()
  for (const { record, letter } of letters) {
    const group = names.user(letter.group ?? '')
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
  }
  const sorted = [...kinds.values()].sort((one, other) => other.count - one.count)
  const rows = sorted.map(kind => ({ ...kind, oldest: time(kind.oldest), newest: time(kind.newest) }))
  if (json) for (const row of rows) output.json(row)
  else if (rows.length === 0) output.note('no dead letters')
  else {
    output.table(
      ['group', 'topic', 'error', 'count', 'oldest', 'newest'],
      rows.map(row => [row.group, row.topic, row.error, String(row.count), short(row.oldest), short(row.newest)]),
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

/** Shows each pending letter: where it stands, what its headers say, key, value and headers. */
export async function show(context: Context, flags: ShowFlags): Promise<void> {
  const { output, json, connection } = context
  const { names } = connection
  const encode = encodings[flags.value ?? 'text']
  const { letters } = await find(context, flags)
  for (const { record, letter } of letters) {
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
      const { group, topic, partition, offset, retries, reason, errorName } = deadLetter
      const origin =
        partition === undefined
          ? topic
          : `${partitionName({ topic, partition })}${offset === undefined ? '' : `@${offset}`}`
      output.line(
        `${place}  ${time(letter.failedAt ?? record.timestamp)}  group ${group ?? '?'}  from ${origin}  retries ${retries}`,
      )
      output.line(`  ${errorName === undefined ? '' : `${errorName}: `}${reason}`)
      output.line(`  key    ${key ?? 'null'}`)
      output.line(`  value  ${value === null ? 'null' : typeof value === 'string' ? value : JSON.stringify(value)}`)
    }
  }
  if (letters.length === 0) output.note('no dead letters')
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
    throw wrongUse('which retry topic? Set --retry-topic or KAFKA_RETRY_TOPIC, or use --to original')
  }
  await dispose(context, flags, { ...common(flags), done: 'redriven', to })
}

export async function discard(context: Context, flags: DisposalFlags): Promise<void> {
  await dispose(context, flags, { ...common(flags), done: 'discarded', to: undefined })
}

function common({ rate, by, auditTopic }: DisposalFlags) {
  return { rate: rate === undefined ? undefined : positive('--rate', rate), by: by ?? whoever(), auditTopic }
}

async function dispose(context: Context, flags: DisposalFlags, disposal: Disposal): Promise<void> {
  const { output, connection, progress, json } = context
  const { letters, pending } = await find(context, flags)
  const without = letters.filter(letter => !hasRetries(letter))
  if (disposal.to === 'retry' && without.length > 0) {
    const places = without
      .slice(0, 3)
      .map(({ record }) => placeOf(record, connection))
      .join(', ')
    throw wrongUse(
      `${without.length} letters have no retry topic (${places}): no client of this library or of MiKa wrote them; choose them by --offsets or --group, and use --to original`,
    )
  }
  const { names } = connection
  const groups = grouped(letters, ({ letter }) => letter.group ?? '')
  const where =
    disposal.to === 'retry'
      ? ` to ${connection.retryTopic}`
      : disposal.to === 'original'
        ? ' to where they were first published'
        : ''
  for (const [group, each] of groups) {
    const plan = `${each.length} letter${each.length === 1 ? '' : 's'} of group ${names.user(group)}`
    const message = `${plan} ${flags.dryRun === true ? 'would be' : 'will be'} ${disposal.done}${where}`
    if (json && flags.dryRun === true) {
      output.json({ group: names.user(group), [disposal.done]: 0, pending: each.length, dryRun: true })
    } else output.note(message)
  }
  if (letters.length === 0) output.note('no dead letters')
  if (letters.length === 0 || flags.dryRun === true) return
  if (flags.yes !== true) await confirmed('Go on?', context.interrupted)
  for (const [group, each] of groups) {
    progress.begin(`${disposal.done === 'redriven' ? 'redriving' : 'discarding'} ${names.user(group)}`, each.length)
    let count = 0
    try {
      count = await new Disposing(connection, disposal, group).run(each, pending, done => progress.at(done))
    } finally {
      progress.end()
    }
    if (json) output.json({ group: names.user(group), [disposal.done]: count, skipped: each.length - count })
    else {
      const others = each.length - count
      const rest = others === 0 ? '' : `; ${others} were dealt with by somebody else meanwhile`
      output.line(
        `${count} letter${count === 1 ? '' : 's'} of group ${names.user(group)} ${disposal.done}${where}${rest}`,
      )
    }
  }
}

// ── How things are shown ─────────────────────────────────────────────────────────────────────────────────────────────

function placeOf(record: { readonly partition: number; readonly offset: bigint }, connection: Connection): string {
  return `${partitionName({ topic: needDlqTopic(connection), partition: record.partition })}@${record.offset}`
}

function time(at: number): string {
  const date = new Date(at)
  return Number.isNaN(date.getTime()) ? String(at) : date.toISOString()
}

/** To the second, which a table of 80 columns has room for. */
function short(iso: string): string {
  return iso.replace('T', ' ').replace(/\.\d+Z$/, '')
}
