import { setTimeout as pause } from 'node:timers/promises'
import { systemClock } from '../clock.js'
import type { Happening, Message, StallState, Standing } from '../inspector/messages.js'
import type { Surroundings } from './context.js'
import { CommandFailure, exitCode } from './failure.js'
import { Inspected, UnreachableError } from './inspected.js'
import type { Output } from './output.js'
import { clientLine, stallText } from './stalls.js'
import { clockTime, duration } from './time.js'

/** ms between two attempts to reach a process again. */
const againEvery = 500

export interface WatchFlags {
  readonly heldFor?: string
  /** False: ends when the connection does. */
  readonly reconnect?: boolean
}

/**
 * Shows what happens in a running process, live: retries, dead letters, rebalances, errors, and positions that are held back.
 * Ends when the user interrupts it. If the process ends or the connection is cut, it says so once, and connects again as soon
 * as there is an inspector at the address.
 */
export async function watch(
  surroundings: Surroundings,
  address: string,
  { heldFor = '2s', reconnect = true }: WatchFlags,
): Promise<void> {
  const { output, json, interrupted } = surroundings
  const inspected = new Inspected(address)
  const display = json ? documents(output) : lines(output)
  const held = new HeldBack(duration('--held-for', heldFor))
  let last: Watched | undefined
  let isLost = false
  while (output.isRead && !interrupted.aborted) {
    let why: CommandFailure
    try {
      for await (const message of inspected.messages(interrupted)) {
        isLost = false
        const standing = message.type === 'snapshot' ? message : message.standing
        if (message.type === 'snapshot') {
          if (last?.since !== message.since || last.pid !== message.identity.pid) held.clear()
          else display.unseen(happenedSince(last, message), message.at)
          last = { since: message.since, pid: message.identity.pid, standing: message }
          display.client(message)
        } else {
          for (const happening of message.happenings) display.happening(happening)
          if (message.more > 0 || message.missed > 0) display.missed(message)
        }
        if (standing !== null) {
          last = { ...last!, standing }
          const { begun, ended } = held.changes(standing.stalls, message.at)
          // A closed client holds nothing, and has released nothing.
          if (standing.state !== 'closed') for (const stall of ended) display.released(stall, message.at)
          for (const stall of begun) display.held(stall, message.at)
        }
        await output.caughtUp()
        if (!output.isRead) return
      }
      const isClosed = last?.standing.state === 'closed'
      if (isClosed && !reconnect && !interrupted.aborted) return output.note('the client has closed')
      why = new CommandFailure(
        isClosed ? 'the client has closed' : `${inspected.url} has ended the connection: the inspector was closed`,
        exitCode.failed,
      )
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error
      why = error
    }
    if (interrupted.aborted) return
    // An address that was never reached may be a mistake.
    if (!reconnect || last === undefined) throw why
    if (!isLost) display.lost(why.message, systemClock.wall())
    isLost = true
    await output.caughtUp()
    await pause(againEvery, undefined, { signal: interrupted }).catch(() => {})
  }
}

/** What is known of the process that was reached last. */
interface Watched {
  /** When `inspect` was called. */
  readonly since: number
  readonly pid: number
  readonly standing: Standing
}

/** How much happened, by the same inspector, while the connection was cut. */
function happenedSince({ standing: { happened: before } }: Watched, { happened: now }: Standing): number {
  return now.deadLetters - before.deadLetters + (now.errors - before.errors) + (now.rebalances - before.rebalances)
}

/** The first held record of each partition, once it has been held for some time. */
class HeldBack {
  #known = new Map<string, StallState>()

  /** @param atLeast Records that are held for less are in ordinary progress, ms. */
  constructor(readonly atLeast: number) {}

  /** Another process holds other records. */
  clear(): void {
    this.#known.clear()
  }

  /** What has changed since the last call. */
  changes(stalls: readonly StallState[], now: number) {
    const held = new Map<string, StallState>()
    for (const stall of stalls) {
      // A retry that waits for its time is announced by its `retried` event.
      if (stall.why === 'not-due' || now - stall.since < this.atLeast) continue
      held.set(`${stall.place} ${stall.why}`, stall)
    }
    const known = this.#known
    this.#known = held
    return {
      begun: [...held].filter(([key]) => !known.has(key)).map(([, stall]) => stall),
      ended: [...known].filter(([key]) => !held.has(key)).map(([, stall]) => stall),
    }
  }
}

type Snapshot = Extract<Message, { readonly type: 'snapshot' }>
type Frame = Extract<Message, { readonly type: 'frame' }>

/** How the command shows what it sees. */
interface Display {
  client(snapshot: Snapshot): void
  happening(happening: Happening): void
  held(stall: StallState, at: number): void
  released(stall: StallState, at: number): void
  missed(frame: Frame): void
  /** @param count Dead letters, errors and rebalances while the connection was cut. */
  unseen(count: number, at: number): void
  lost(why: string, at: number): void
}

function documents(output: Output): Display {
  return {
    client: ({ at, identity: { clientId, group, pid }, state, health: { live, ready, reasons } }) =>
      output.json({ type: 'client', at, clientId, group, pid, state, live, ready, reasons }),
    happening: happening => output.json(happening),
    held: (stall, at) => output.json({ type: 'held', at, ...stall }),
    released: ({ place, why }, at) => output.json({ type: 'released', at, place, why }),
    missed: ({ at, more, missed }) => output.json({ type: 'missed', at, events: more, frames: missed }),
    unseen: (count, at) => {
      if (count > 0) output.json({ type: 'missed', at, events: count, frames: 0 })
    },
    lost: (why, at) => output.json({ type: 'unreachable', at, why }),
  }
}

/** The longest type that is common, so that places stand below each other. */
const typeWidth = 'dead-lettered'.length

function lines(output: Output): Display {
  const line = (at: number, type: string, ...parts: readonly string[]) =>
    output.fields(`${clockTime(at)}  ${type.padEnd(typeWidth)}`, ...parts.filter(part => part !== ''))
  return {
    client: snapshot => output.note(clientLine(snapshot)),
    happening({ at, type, place = '', origin, text, error, attempt }) {
      const from = origin === undefined ? '' : `(${origin})`
      const tried = attempt === undefined ? '' : `attempt ${attempt}`
      line(at, type, place, from, tried, error === undefined ? (text === type ? '' : text) : `${error}: ${text}`)
    },
    held: (stall, at) => line(at, 'held', stall.place, stallText(stall, at)),
    released: ({ place, why }, at) => line(at, 'released', place, `no longer ${why}`),
    missed({ at, more, missed }) {
      if (more > 0) line(at, 'missed', `${more} more events within 250 ms`)
      if (missed > 0) line(at, 'missed', `${missed} messages of the inspector: its reader was too slow`)
    },
    unseen(count, at) {
      const text = `${count} dead letters, errors and rebalances while the connection was cut`
      if (count > 0) line(at, 'missed', text)
    },
    lost: (why, at) => line(at, 'unreachable', why, 'trying again until Ctrl-C'),
  }
}
