import { isUtf8 } from 'node:buffer'
import { systemClock } from '../clock.js'
import { isRxMikaError } from '../errors.js'
import { partitionName } from '../place.js'
import { confirmed } from './confirmation.js'
import { type Connection, needDlqTopic } from './connection.js'
import type { Context } from './context.js'
import { DeadLetterPlaces } from './dead-letter-places.js'
import { deadLettersText, ofGroup } from './dead-letters-text.js'
import { type Disposal, type Disposed, Disposing, userAtHost } from './disposal.js'
import { CommandFailure, exitCode, wrongUse } from './failure.js'
import { type DeadLetterRecord, groupOf, PendingDeadLetters } from './pending-dead-letters.js'
import { hasRetries } from './redriven-copy.js'
import { positive, Selection, type SelectionFlags } from './selection.js'
import { isoTime, shortTime } from './time.js'

/** The pending dead letters that the flags select. `seen` is called with each dead letter that may be pending. */
async function pendingOf(
  { connection, progress }: Context,
  flags: SelectionFlags,
  seen?: (deadLetter: DeadLetterRecord) => void,
): Promise<PendingDeadLetters> {
  const deadLetters = new PendingDeadLetters(connection, new Selection(flags, connection.names, systemClock.wall()))
  progress.begin(`reading ${needDlqTopic(connection)}`)
  try {
    await deadLetters.learn(records => progress.at(records), seen)
  } finally {
    progress.end()
  }
  return deadLetters
}

/** Calls `take` with each pending dead letter, and shows a progress bar. */
async function eachOf(
  { connection, progress }: Context,
  deadLetters: PendingDeadLetters,
  take: (deadLetter: DeadLetterRecord) => void,
): Promise<void> {
  progress.begin(`counting the dead letters of ${needDlqTopic(connection)}`)
  try {
    for await (const deadLetter of deadLetters.pending(records => progress.at(records))) take(deadLetter)
  } finally {
    progress.end()
  }
}

// ── ls ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Counts the pending dead letters by group, topic and error. */
export async function list(context: Context, flags: SelectionFlags): Promise<void> {
  const { output, json } = context
  const { names } = context.connection
  const deadLetters = await pendingOf(context, flags)
  const kinds = new Map<
    string,
    { group: string; topic: string; error: string; count: number; oldest: number; newest: number }
  >()
  await eachOf(context, deadLetters, each => {
    const { record, deadLetter } = each
    const group = names.user(groupOf(each))
    const topic = names.user(deadLetter.topic)
    const error = deadLetter.errorName ?? ''
    const at = deadLetter.failedAt ?? record.timestamp
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

/** The longest value that is shown in a terminal, in characters. A record may have a megabyte. */
const maxShown = 2_000

/** Bytes as text that people can read: `0x00ff` if they are not UTF-8. */
function shownBytes(bytes: Buffer | null, as: keyof typeof encodings, limit = Number.POSITIVE_INFINITY): string {
  if (bytes === null) return 'null'
  const encoded = as === 'hex' || isUtf8(bytes) ? encodings[as](bytes) : `0x${bytes.toString('hex')}`
  const text = typeof encoded === 'string' ? encoded : JSON.stringify(encoded)
  if (text.length <= limit) return text
  return `${text.slice(0, limit)}… (${bytes.length} bytes; --json and a pipe have all of them)`
}

/** Shows each pending dead letter: its place, what its headers say, key and value; as JSON, all headers too. */
export async function show(context: Context, flags: ShowFlags): Promise<void> {
  const { output, json, connection } = context
  const { names } = connection
  const encode = encodings[flags.value ?? 'text']
  const deadLetters = await pendingOf(context, flags)
  let isFirst = true
  const inOrder = flags.limit !== undefined
  for await (const { record, deadLetter } of deadLetters.pending(undefined, inOrder)) {
    await output.caughtUp()
    if (!output.isRead) return
    const place = placeOf(record, connection)
    const shown = {
      ...deadLetter,
      ...(deadLetter.offset !== undefined && { offset: String(deadLetter.offset) }),
      ...(deadLetter.group !== undefined && { group: names.user(deadLetter.group) }),
      topic: names.user(deadLetter.topic),
    }
    if (json) {
      const { key: bytes } = record
      const key = bytes === null ? null : bytes.toString()
      const value = record.value === null ? null : encode(record.value)
      const headers = record.headerPairs.map(([header, each]) => [header, each === null ? null : each.toString()])
      const keyHex = bytes === null || isUtf8(bytes) ? undefined : bytes.toString('hex')
      output.json({ place, deadLetter: shown, key, ...(keyHex !== undefined && { keyHex }), value, headers })
    } else {
      if (!isFirst) output.line('')
      const { group, topic, partition, offset, retries, reason, errorName } = shown
      const origin = partition === undefined ? topic : partitionName({ topic, partition })
      const fields = {
        failed: `${isoTime(deadLetter.failedAt ?? record.timestamp)}, retries ${retries}`,
        group: group ?? 'not known',
        from: offset === undefined ? origin : `${origin}@${offset}`,
        reason: errorName === undefined ? reason : `${errorName}: ${reason}`,
        key: shownBytes(record.key, 'text'),
        value: shownBytes(record.value, flags.value ?? 'text', output.isTerminal ? maxShown : undefined),
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

/** Pending dead letters, as they are before the command does anything. */
interface Plan {
  readonly deadLetters: PendingDeadLetters
  /** How many cannot be redriven to the retry topic, and where the first of them are. */
  readonly unretriable: number
  readonly examples: readonly string[]
}

async function planOf(context: Context, flags: SelectionFlags): Promise<Plan> {
  const foreign = new DeadLetterPlaces()
  const deadLetters = await pendingOf(context, flags, each => {
    if (!hasRetries(each)) foreign.add(groupOf(each), each.record.partition, each.offset)
  })
  const examples: string[] = []
  let unretriable = 0
  for (const { group, partition, offset } of foreign) {
    if (!deadLetters.isPending(group, partition, offset)) continue
    if (unretriable++ < 3) examples.push(placeOf({ partition, offset }, context.connection))
  }
  return { deadLetters, unretriable, examples }
}

async function dispose(context: Context, flags: DisposalFlags, disposal: Disposal): Promise<void> {
  const { output, connection, progress, json } = context
  const { names } = connection
  if (disposal.to === 'retry') await checkTopic(context, '--retry-topic', connection.retryTopic!)
  if (disposal.auditTopic !== undefined) await checkTopic(context, '--audit-topic', disposal.auditTopic)
  const { deadLetters, unretriable, examples } = await planOf(context, flags)
  const groups = deadLetters.counts
  if (disposal.to === 'retry' && unretriable > 0) {
    throw wrongUse(
      `${deadLettersText(unretriable)} (${examples.join(', ')}) cannot be redriven to a retry topic, because neither this library nor MiKa wrote them. Choose others by --group or --offsets, or use --to original`,
    )
  }
  const { done } = disposal
  const where =
    disposal.to === undefined
      ? ''
      : disposal.to === 'retry'
        ? ` to ${connection.retryTopic}`
        : ' to their original topics'
  for (const [group, count] of groups) {
    if (json && flags.dryRun === true) {
      output.json({ group: names.user(group), [done]: 0, pending: count, dryRun: true })
    } else {
      const will = flags.dryRun === true ? 'would' : 'will'
      output.note(`${deadLettersText(count)} ${ofGroup(group, names)} ${will} be ${done}${where}`)
    }
  }
  if (groups.size === 0 && !json) output.note(nothingPending)
  if (groups.size === 0 || flags.dryRun === true) return
  if (flags.yes !== true) await confirmed('Continue?', context)
  const total = [...groups.values()].reduce((sum, count) => sum + count, 0)
  progress.begin(done === 'redriven' ? 'redriving' : 'discarding', total)
  let disposed: ReadonlyMap<string, Disposed>
  try {
    disposed = await new Disposing(context, disposal).run(deadLetters, completed => progress.at(completed))
  } finally {
    progress.end()
  }
  for (const [group, { count, total, takenOver }] of disposed) {
    if (takenOver !== undefined) continue
    const skipped = total - count
    if (json) output.json({ group: names.user(group), [done]: count, skipped })
    else {
      const rest = skipped === 0 ? '' : `; ${skipped} completed by others meanwhile`
      output.line(`${deadLettersText(count)} ${ofGroup(group, names)} ${done}${where}${rest}`)
    }
  }
  const lost = [...disposed].flatMap(([group, { count, total, takenOver }]) =>
    takenOver === undefined
      ? []
      : [
          `${count} of ${deadLettersText(total)} ${ofGroup(group, names)} are ${done}, and the rest is left to another command: ${takenOver.message}`,
        ],
  )
  if (lost.length > 0) throw new CommandFailure(lost.join('\n'), exitCode.failed)
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

function placeOf(
  { partition, offset }: { readonly partition: number; readonly offset: number | bigint },
  connection: Connection,
): string {
  return `${partitionName({ topic: needDlqTopic(connection), partition })}@${offset}`
}

/** Indents the lines after the first one, so that they align with its text. */
function indented(text: string, columns: number): string {
  return text.replaceAll('\n', `\n${' '.repeat(columns)}`)
}
