import { Random } from './random'

/**
 * - `join`: an additional member joins, and leaves gracefully after some time.
 * - `leave`: a member leaves gracefully, and a new one replaces it.
 * - `kill`: a member is killed by SIGKILL, and a new one replaces it.
 * - `freeze`: a member is stopped for longer than its session.
 * - `broker`: a broker is killed, and started again.
 * - `cut`: connections to a broker are cut in the middle of an answer.
 */
export type FaultKind = (typeof faultKinds)[number]
export const faultKinds = ['join', 'leave', 'kill', 'freeze', 'broker', 'cut'] as const

export interface Fault {
  readonly kind: FaultKind
  /** Time since the start of the run, ms. */
  readonly at: number
  /** The number of a member's slot or of a broker, from 1. The last slot is for the additional member of `join`. */
  readonly target: number
  /** The duration of the fault, ms. */
  readonly lasts: number
  /** How many connections are cut. */
  readonly connections?: number
}

export interface ScheduleOptions {
  readonly seed: number
  /** The duration of the run, ms. */
  readonly duration: number
  readonly members: number
  readonly brokers: number
  /** The kinds of faults. Defaults to all. */
  readonly kinds?: readonly FaultKind[]
}

/** The deck that kinds are drawn from. Cuts are in it twice, so they are twice as frequent. */
const deckOfKinds: readonly FaultKind[] = [...faultKinds, 'cut']

/** How long each kind lasts, ms. */
const lengths: Record<FaultKind, readonly [min: number, max: number]> = {
  join: [4_000, 12_000],
  leave: [0, 3_000],
  kill: [0, 8_000],
  // Longer than the session of 6 s, so that the group removes the member.
  freeze: [8_000, 12_000],
  broker: [2_000, 8_000],
  cut: [0, 0],
}

/** How long the target gets to recover, ms: a broker to start and catch up, a member to join. */
const recovery: Record<FaultKind, number> = {
  join: 5_000,
  leave: 8_000,
  kill: 5_000,
  freeze: 6_000,
  broker: 15_000,
  cut: 0,
}

/**
 * The faults of a run, decided by the seed. Kinds are drawn from a shuffled deck, so that every kind occurs before one repeats.
 * At most one broker is away at any time, so that acknowledged records exist on the others. At least one member is unaffected.
 */
export function schedule({ seed, duration, members, brokers, kinds = faultKinds }: ScheduleOptions): Fault[] {
  const random = new Random(seed)
  const faults: Fault[] = []
  /** When each slot is free for another fault. */
  const slots = new Map(Array.from({ length: members + 1 }, (_, at) => [at + 1, 0]))
  let brokersFree = 0
  let deck: FaultKind[] = []

  const freeSlots = (at: number) => {
    const free = [...slots].filter(([slot, from]) => slot <= members && from <= at).map(([slot]) => slot)
    return free.length > 1 ? free : []
  }
  const targets = (kind: FaultKind, at: number): readonly number[] => {
    if (kind === 'join') return slots.get(members + 1)! <= at ? [members + 1] : []
    if (kind === 'broker' && brokersFree > at) return []
    if (kind === 'broker' || kind === 'cut') return Array.from({ length: brokers }, (_, node) => node + 1)
    return freeSlots(at)
  }

  for (let at = 1_000; at < duration; at += random.between(1_000, 6_000)) {
    if (deck.length < 3) deck = [...deck, ...random.shuffled(deckOfKinds.filter(kind => kinds.includes(kind)))]
    const next = deck.findIndex(kind => targets(kind, at).length > 0)
    if (next < 0) continue
    const [kind] = deck.splice(next, 1) as [FaultKind]
    const target = random.pick(targets(kind, at))
    const [min, max] = lengths[kind]
    const lasts = random.between(min, max)
    if (at + lasts > duration) continue
    if (kind === 'broker') brokersFree = at + lasts + recovery.broker
    else if (kind !== 'cut') slots.set(target, at + lasts + recovery[kind])
    faults.push({ kind, at, target, lasts, ...(kind === 'cut' && { connections: random.pick([1, 4, 100]) }) })
  }
  return faults
}
