import { setTimeout as pause } from 'node:timers/promises'
import { decodeFinished } from '../client/finished-work.js'
import type { Context } from './context.js'
import { CommandFailure, exitCode } from './failure.js'

const watchEvery = 2_000

export interface LagFlags {
  readonly watch?: boolean
}

interface Row {
  readonly topic: string
  readonly partition: number
  readonly committed: number
  /** Null: no broker leads the partition at present. */
  readonly end: number | null
  readonly lag: number | null
  /** Records that are completed behind the committed position, as the group wrote it beside that position. */
  readonly finishedBehind: number
}

/** How far a group is behind, per partition that it has committed. */
export async function lag(context: Context, name: string, { watch }: LagFlags): Promise<void> {
  for (;;) {
    write(context, await rowsOf(context, name))
    if (watch !== true) return
    await pause(watchEvery)
  }
}

async function rowsOf({ connection }: Context, name: string): Promise<readonly Row[]> {
  const { admin, names } = connection
  const group = names.full(name)
  const consumed = await admin.positions(group)
  const positions = consumed.length > 0 ? consumed : ((await admin.sharePositions(group)) ?? [])
  if (positions.length === 0)
    throw new CommandFailure(`group '${name}' has committed nothing, or does not exist`, exitCode.failed)
  const ends = await admin.ends(positions)
  return positions
    .map(({ topic, partition, committed, metadata }): Row => {
      const end = ends.get({ topic, partition }) ?? null
      const finishedBehind = decodeFinished(committed, metadata).reduce(
        (sum, [first, last]) => sum + last - first + 1,
        0,
      )
      return {
        topic: names.user(topic),
        partition,
        committed,
        end,
        lag: end === null ? null : Math.max(0, end - committed),
        finishedBehind,
      }
    })
    .sort((one, other) =>
      one.topic === other.topic ? one.partition - other.partition : one.topic < other.topic ? -1 : 1,
    )
}

function write({ output, json }: Context, rows: readonly Row[]): void {
  if (json) for (const row of rows) output.json(row)
  else {
    const shown = (value: number | null) => (value === null ? '-' : String(value))
    output.table(
      ['topic', 'partition', 'committed', 'end', 'lag', 'finished behind'],
      rows.map(row => [row.topic, ...[row.partition, row.committed, row.end, row.lag, row.finishedBehind].map(shown)]),
    )
  }
}
