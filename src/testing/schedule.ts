import type { FaultyRequest } from '../drivers/memory/index.js'
import { ConfigurationError } from '../errors.js'
import type { ScenarioChoices } from './choices.js'
import { alphabet } from './letters.js'
import type { RecordContent } from './marble-helpers.js'
import { Random } from './random.js'

/** A topic that a simulation writes records to. */
export interface SimulatedTopic {
  /** How many partitions; default 2. */
  readonly partitions?: number | undefined
  /** The maximum of records; default 6. */
  readonly records?: number | undefined
  /** Returns the content of a letter's record; default: the letter as value, no key. */
  readonly contents?: ((letter: string) => RecordContent) | undefined
}

/** For each kind of fault, how often it may happen in one run at most. */
export interface SimulatedFaults {
  /** A graceful rebalance revokes one partition. */
  readonly revoke?: number | undefined
  /** A partition is taken away without asking. */
  readonly lose?: number | undefined
  /** A member's process is killed, which is noticed some ms later. At least one member stays. */
  readonly kill?: number | undefined
  /** A member closes gracefully. At least one stays. */
  readonly closeGracefully?: number | undefined
  /** The broker is unreachable for some ms. */
  readonly outage?: number | undefined
  /** A member's process is suspended for some ms. Its group may rebalance without it. */
  readonly freeze?: number | undefined
  /** A member's wall clock is set by seconds to days: forward the first time, then back or forward. */
  readonly setClock?: number | undefined
  /** One request fails: publishing a copy of a failed record, a commit, a fetch. */
  /** Publishing a copy of a failed record fails once. */
  readonly produce?: number | undefined
  /** A commit fails once. */
  readonly commit?: number | undefined
  /** A fetch fails once. */
  readonly fetch?: number | undefined
}

export const everyFault: Required<SimulatedFaults> = {
  revoke: 1,
  lose: 1,
  kill: 1,
  closeGracefully: 1,
  outage: 1,
  produce: 1,
  commit: 1,
  fetch: 1,
  freeze: 1,
  setClock: 2,
}

export interface PutIn {
  readonly letter: string
  readonly topic: string
  readonly partition: number
  readonly frame: number
}

export type Fault = { readonly frame: number } & (
  | { readonly kind: 'revoke' | 'lose'; readonly topic: string; readonly partition: number }
  | { readonly kind: 'kill'; readonly client: number; readonly after: number }
  | { readonly kind: 'closeGracefully'; readonly client: number }
  | { readonly kind: 'outage'; readonly lasts: number }
  | { readonly kind: 'freeze'; readonly client: number; readonly lasts: number; readonly after: number }
  | { readonly kind: 'setClock'; readonly client: number; readonly by: number }
  | { readonly kind: FaultyRequest }
)

/** Everything random about a run, as data. It can be shrunk, and written down as a test. */
export interface Schedule {
  /** How long every request takes, ms. */
  readonly latency: number
  /** When each consuming client starts. */
  readonly starts: readonly { readonly client: number; readonly frame: number }[]
  /** By topic and partition, in the order in which they are written. */
  readonly records: readonly PutIn[]
  readonly faults: readonly Fault[]
  readonly choices: ScenarioChoices
}

/** What a schedule depends on, known once the scenario is built. */
export interface Stage {
  readonly topics: ReadonlyMap<string, Required<SimulatedTopic>>
  readonly faults: SimulatedFaults
  /** The indexes of the clients that consume. */
  readonly consumers: readonly number[]
}

/** The longest gap between two records, ms. */
const longestGap = 4

/** The largest step of a wall clock, s. */
const longestClockStep = 48 * 3_600

/** Draws a schedule. The same seed and stage give the same schedule. */
export function drawSchedule(seed: number, latency: number, stage: Stage): Schedule {
  const random = new Random(seed, 'schedule')
  const records = drawRecords(random, stage.topics)
  // A little longer than the records, so that faults may happen while the last records are being processed.
  const span = Math.max(0, ...records.map(({ frame }) => frame)) + 15
  const starts = stage.consumers.map((client, at) => ({ client, frame: at === 0 ? 0 : random.small(span) }))
  return { latency, starts, records, faults: drawFaults(random, span, stage), choices: {} }
}

/** Draws the latency on its own, because it is needed before the scenario is built. */
export function drawLatency(seed: number, max: number): number {
  return new Random(seed, 'latency').small(max)
}

function drawRecords(random: Random, topics: Stage['topics']): PutIn[] {
  const free = alphabet.values()
  return [...topics].flatMap(([topic, { partitions, records }]) => {
    const frames = Array<number>(partitions).fill(0)
    return Array.from({ length: random.integer(records) }, () => {
      const partition = random.integer(partitions - 1)
      const frame = frames[partition]! + random.small(longestGap)
      frames[partition] = frame
      const letter = free.next().value
      if (letter === undefined)
        throw new ConfigurationError(`a run has ${alphabet.length} records at most, one a letter`)
      return { letter, topic, partition, frame }
    })
  })
}

function drawFaults(random: Random, span: number, stage: Stage): Fault[] {
  const places = [...stage.topics].flatMap(([topic, { partitions }]) =>
    Array.from({ length: partitions }, (_, partition) => ({ topic, partition })),
  )
  const living = [...stage.consumers]
  const faults: Fault[] = []
  const kinds = (Object.keys(everyFault) as (keyof SimulatedFaults)[]).filter(kind => (stage.faults[kind] ?? 0) > 0)
  for (const kind of kinds) {
    // Half of the runs have no fault of a kind, because some failures need one to be absent.
    for (let left = random.chance(0.5) ? random.integer(stage.faults[kind]!) : 0; left > 0; left--) {
      const frame = random.integer(span)
      switch (kind) {
        case 'revoke':
        case 'lose':
          if (places.length > 0) faults.push({ kind, frame, ...places[random.integer(places.length - 1)]! })
          break
        case 'kill':
        case 'closeGracefully': {
          if (living.length < 2) break
          const [client] = living.splice(random.integer(living.length - 1), 1) as [number]
          faults.push(kind === 'kill' ? { kind, frame, client, after: 1 + random.small(20) } : { kind, frame, client })
          break
        }
        case 'outage':
          faults.push({ kind, frame, lasts: 1 + random.small(20) })
          break
        case 'freeze': {
          if (stage.consumers.length === 0) break
          const client = stage.consumers[random.integer(stage.consumers.length - 1)]!
          faults.push({ kind, frame, client, lasts: 1 + random.small(30), after: 1 + random.small(30) })
          break
        }
        case 'setClock': {
          if (stage.consumers.length === 0) break
          const client = stage.consumers[random.integer(stage.consumers.length - 1)]!
          faults.push({ kind, frame, client, by: 0 })
          break
        }
        default:
          faults.push({ kind, frame })
      }
    }
  }
  faults.sort((one, other) => one.frame - other.frame)
  return setClocks(random, faults)
}

/** Draws the steps of clocks. Virtual time begins in 1970, and no clock is set back to before that. */
function setClocks(random: Random, faults: readonly Fault[]): Fault[] {
  const ahead = new Map<number, number>()
  return faults.map(fault => {
    if (fault.kind !== 'setClock') return fault
    const before = ahead.get(fault.client) ?? 0
    const seconds =
      before > 0 && random.chance(0.7) ? -(1 + random.small(before - 1)) : 1 + random.small(longestClockStep - 1)
    ahead.set(fault.client, before + seconds)
    return { ...fault, by: seconds * 1_000 }
  })
}
