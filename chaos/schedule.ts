import { Random } from './random'

/**
 * `join`: one more member joins, and leaves gracefully after a while. `leave`: a member leaves gracefully, and another
 * takes its place. `kill`: the same, by SIGKILL. `freeze`: a member stands still for longer than its session. `broker`: a
 * broker is killed, and started again. `cut`: connections to a broker are cut in the middle of an answer.
 */
export type FaultKind = (typeof faultKinds)[number]
export const faultKinds = ['join', 'leave', 'kill', 'freeze', 'broker', 'cut'] as const

export interface Fault {
  readonly kind: FaultKind
  /** After the start, ms. */
  readonly at: number
  /** A member's seat or a broker's number, from 1; the seat after the last is for who joins for a while. */
  readonly target: number
  /** Until it is over, ms. */
  readonly lasts: number
  /** How many connections are cut. */
  readonly connections?: number
}

export interface ScheduleOptions {
  readonly seed: number
  /** ms. */
  readonly duration: number
  readonly members: number
  readonly brokers: number
  /** Of those; all by default. */
  readonly kinds?: readonly FaultKind[]
}

/** Connections are cut twice as often as all else happens. */
const dealt: readonly FaultKind[] = [...faultKinds, 'cut']

/** How long each kind lasts, ms. */
const lengths: Record<FaultKind, readonly [least: number, most: number]> = {
  join: [4_000, 12_000],
  leave: [0, 3_000],
  kill: [0, 8_000],
  // The session is 6 s: the group has gone on without the member.
  freeze: [8_000, 12_000],
  broker: [2_000, 8_000],
  cut: [0, 0],
}

/** Until what was hit is itself again, ms: a broker has started and caught up, a member has joined. */
const recovery: Record<FaultKind, number> = {
  join: 5_000,
  leave: 8_000,
  kill: 5_000,
  freeze: 6_000,
  broker: 15_000,
  cut: 0,
}

/**
 * What goes wrong, and when. The seed decides. Kinds are dealt like cards: each once before any comes again. At any time
 * at most one broker is away, so that the others have what is acknowledged, and at least one member is well.
 */
export function schedule({ seed, duration, members, brokers, kinds = faultKinds }: ScheduleOptions): Fault[] {
  const random = new Random(seed)
  const faults: Fault[] = []
  /** When each seat is free to be hit again. */
  const seats = new Map(Array.from({ length: members + 1 }, (_, at) => [at + 1, 0]))
  let brokersFree = 0
  let deck: FaultKind[] = []

  const freeSeats = (at: number) => {
    const free = [...seats].filter(([seat, from]) => seat <= members && from <= at).map(([seat]) => seat)
    return free.length > 1 ? free : []
  }
  const targets = (kind: FaultKind, at: number): readonly number[] => {
    if (kind === 'join') return seats.get(members + 1)! <= at ? [members + 1] : []
    if (kind === 'broker' && brokersFree > at) return []
    if (kind === 'broker' || kind === 'cut') return Array.from({ length: brokers }, (_, node) => node + 1)
    return freeSeats(at)
  }

  for (let at = 1_000; at < duration; at += random.between(1_000, 6_000)) {
    if (deck.length < 3) deck = [...deck, ...random.shuffled(dealt.filter(kind => kinds.includes(kind)))]
    const next = deck.findIndex(kind => targets(kind, at).length > 0)
    if (next < 0) continue
    const [kind] = deck.splice(next, 1) as [FaultKind]
    const target = random.pick(targets(kind, at))
    const [least, most] = lengths[kind]
    const lasts = random.between(least, most)
    if (at + lasts > duration) continue
    if (kind === 'broker') brokersFree = at + lasts + recovery.broker
    else if (kind !== 'cut') seats.set(target, at + lasts + recovery[kind])
    faults.push({ kind, at, target, lasts, ...(kind === 'cut' && { connections: random.pick([1, 4, 100]) }) })
  }
  return faults
}
