import type { StallState, StallsAnswer } from '../inspector/messages.js'
import type { Surroundings } from './context.js'
import { Inspected } from './inspected.js'
import { shownDuration } from './time.js'

export interface StallsFlags {
  readonly all?: boolean
}

/** Shows which records hold back the positions of a running process, since when, and why. */
export async function stalls(surroundings: Surroundings, address: string, { all }: StallsFlags): Promise<void> {
  const { output, json, interrupted } = surroundings
  const answer = await new Inspected(address).stalls(all === true, interrupted)
  if (json) {
    for (const stall of answer.stalls) output.json(stall)
  } else {
    output.note(clientLine(answer))
    if (answer.stalls.length === 0) output.note('no position is held back')
    else {
      output.table(
        ['place', 'why', 'for', 'attempt', 'key', 'due in', 'first published at'],
        answer.stalls.map(stall => [
          stall.place,
          stall.why,
          shownDuration(answer.at - stall.since),
          String(stall.attempt),
          stall.key ?? 'null',
          stall.due === null ? '' : shownDuration(stall.due - answer.at),
          stall.origin ?? '',
        ]),
      )
    }
  }
  if (answer.more > 0) output.note(`${answer.more} more are held and not shown`)
}

/** Which client it is, and how it is: `billing-1 of group billing, process 4711, running, not ready: no broker answers`. */
export function clientLine({ identity, state, health }: Pick<StallsAnswer, 'identity' | 'state' | 'health'>): string {
  const { clientId, group, pid } = identity
  const name = `${clientId ?? 'a client'}${group === null ? '' : ` of group ${group}`}`
  const readiness = health.ready ? 'ready' : `not ready: ${health.reasons.join(', ')}`
  return `${name}, process ${pid}: ${state}, ${readiness}`
}

/** `orders-3@1042 unsettled for 12 s, attempt 2, key k-17` without the place. */
export function stallText({ why, since, attempt, key, due }: StallState, now: number): string {
  const dueText = due === null ? '' : `, due in ${shownDuration(due - now)}`
  return `${why} for ${shownDuration(now - since)}, attempt ${attempt}, key ${key ?? 'null'}${dueText}`
}
