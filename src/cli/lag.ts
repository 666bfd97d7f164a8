import { setTimeout as pause } from 'node:timers/promises'
import { decodeFinished } from '../client/finished-work.js'
import { systemClock } from '../clock.js'
import type { GroupPosition } from '../drivers/kafka/admin.js'
import { partitionName } from '../place.js'
import type { Context } from './context.js'
import { CommandFailure, exitCode } from './failure.js'
import { clockTime } from './time.js'

/** ms between two tables of `--watch`. */
const watchEvery = 2_000

export interface LagFlags {
  readonly watch?: boolean
}

interface Row {
  readonly topic: string
  readonly partition: number
  readonly committed: number
  /** Null if no broker leads the partition at present. */
  readonly end: number | null
  /** As Kafka's own tools compute it: `end` minus `committed`; of a share group, without records completed behind the position. */
  readonly lag: number | null
  /**
   * Records that are completed behind the committed position, as the group has written into the commit's metadata; of a
   * share group, as the broker counts them.
   */
  readonly finishedBehind: number
}

/** Shows how far a group is behind, for each partition with a committed position. */
export async function lag(context: Context, name: string, { watch }: LagFlags): Promise<void> {
  const { output, json, interrupted } = context
  const first = await rowsOf(context, name)
  if (watch !== true) return write(context, first)
  for (let rows: readonly Row[] | undefined = first; ; rows = await againOf(context, name)) {
    const at = systemClock.wall()
    if (rows !== undefined && json) for (const row of rows) output.json({ at, ...row })
    else if (rows !== undefined) {
      // With its own three lines.
      output.newPage(rows.length + 3)
      output.line(`group ${name} at ${clockTime(at)}`)
      write(context, rows)
    }
    await pause(watchEvery, undefined, { signal: interrupted }).catch(() => {})
    await output.caughtUp()
    if (interrupted.aborted || !output.isRead) return
  }
}

/** Returns undefined, after a message, if the rows cannot be read now: brokers may be away for a while. */
async function againOf(context: Context, name: string): Promise<readonly Row[] | undefined> {
  try {
    return await rowsOf(context, name)
  } catch (error) {
    context.output.note(`rxmika: ${(error as Error).message}; trying again`)
    return undefined
  }
}

async function rowsOf({ connection }: Context, name: string): Promise<readonly Row[]> {
  const { admin, names } = connection
  const group = names.full(name)
  const consumed = await admin.positions(group)
  const positions = consumed.length > 0 ? consumed : ((await admin.sharePositions(group)) ?? [])
  if (positions.length === 0) {
    // A broker leaves out what the user may not see, and says nothing.
    const message = `group '${name}' has committed nothing, or does not exist, or the user needs DESCRIBE on its topics`
    throw new CommandFailure(message, exitCode.failed)
  }
  const ends = await admin.ends(positions)
  return positions
    .map((position): Row => {
      const { topic, partition, committed } = position
      const end = ends.get({ topic, partition }) ?? null
      // A share group completes records behind its position, and brokers leave them out of its lag.
      const lag = position.lag ?? (end === null ? null : Math.max(0, end - committed))
      return { topic: names.user(topic), partition, committed, end, lag, finishedBehind: finishedBehind(position, end) }
    })
    .sort((one, other) =>
      one.topic === other.topic ? one.partition - other.partition : one.topic < other.topic ? -1 : 1,
    )
}

function finishedBehind({ committed, metadata, lag }: GroupPosition, end: number | null): number {
  if (lag !== undefined) return end === null ? 0 : Math.max(0, end - committed - lag)
  return decodeFinished(committed, metadata).reduce((sum, [first, last]) => sum + last - first + 1, 0)
}

function write({ output, json }: Context, rows: readonly Row[]): void {
  if (json) for (const row of rows) output.json(row)
  else {
    const shown = (value: number | null) => (value === null ? '-' : String(value))
    output.table(
      ['partition', 'committed', 'end', 'lag', 'finished behind'],
      rows.map(row => [
        partitionName(row),
        ...[row.committed, row.end, row.lag, row.finishedBehind].map(value => shown(value)),
      ]),
    )
  }
}
