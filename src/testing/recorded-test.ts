import type { TopicOptions } from '../client/client.js'
import { ConfigurationError } from '../errors.js'
import { drawDiagram, type Mark } from './diagram.js'
import { alphabet, nameOf, originsOf, type Place } from './letters.js'
import type { RecordContent } from './marble-helpers.js'
import type { RecordedEntry } from './record-marbles.js'
import { runVirtually } from './run-marbles.js'
import { writable } from './script.js'
import { literal, testText } from './test-text.js'

// With its picture, for the inspector, which loads both when they are asked for.
export { recordedDiagram } from './recorded-diagram.js'

/** What a recording keeps of a delivery in addition to the entry. */
export interface Delivered {
  /** Where the record was first published. */
  readonly origin: Place
  /** Equal for equal keys, and nothing else; undefined: no key. */
  readonly key: string | undefined
}

interface Input {
  readonly what: 'delivered' | 'acked' | 'failed'
  readonly letter: string
}

interface Topic {
  readonly options: TopicOptions
  readonly partitions: number
}

interface Recorded {
  readonly inputs: readonly Input[]
  readonly topics: ReadonlyMap<string, Topic>
  readonly places: ReadonlyMap<string, Place>
  readonly contents: ReadonlyMap<string, RecordContent>
}

type Call = (helpers: never, topic: string) => void

/** The frames between two inputs to try: more if the consequences of one do not fit in one frame. */
const spacings = [1, 5, 10, 20, 50]

/** A marble test that replays the records and settlements, and expects what follows from them in its own run. */
export function recordedTest(entries: readonly RecordedEntry[], details: WeakMap<RecordedEntry, Delivered>): string {
  const recorded = read(entries, details)
  for (const spacing of spacings) {
    const text = written(recorded, spacing)
    if (text !== undefined) return text
  }
  throw new ConfigurationError(
    'recordMarbles: too much happened at once to be written as a test; take a shorter window',
  )
}

function read(entries: readonly RecordedEntry[], details: WeakMap<RecordedEntry, Delivered>): Recorded {
  const seen = new Map<string, { letter: string; topic: string; deliveries: number; attempt: number; open: boolean }>()
  const places = new Map<string, Place>()
  const contents = new Map<string, RecordContent>()
  const keys = new Map<string, string>()
  const origins = new Map<string, string>()
  const dlq = new Set<string>()
  const inputs: Input[] = []
  for (const entry of entries) {
    const { what, attempt = 1 } = entry
    const detail = details.get(entry)
    if (detail === undefined) {
      if (what === 'dead-lettered') dlq.add(origins.get(sourceOf(entry)) ?? entry.topic!)
      continue
    }
    const { origin, key } = detail
    const name = nameOf(origin)
    const record = seen.get(name)
    origins.set(sourceOf(entry), origin.topic)
    if (what === 'delivered') {
      if (record === undefined) {
        const letter = letterAt(seen.size)
        seen.set(name, { letter, topic: origin.topic, deliveries: 1, attempt, open: true })
        places.set(letter, origin)
        if (key !== undefined && !keys.has(key)) keys.set(key, `key ${keys.size + 1}`)
        const value = entry.shown ?? letter
        contents.set(letter, key === undefined ? value : { key: keys.get(key)!, value })
        inputs.push({ what, letter })
      } else if (attempt > record.attempt && !record.open) {
        // A delivery after a failure. One with the same attempt is a redelivery after a rebalance.
        Object.assign(record, { deliveries: record.deliveries + 1, attempt, open: true })
      }
    } else if (record?.open && attempt === record.attempt) {
      record.open = false
      inputs.push({ what: what as Input['what'], letter: record.letter })
    }
  }
  const topics = new Map<string, Topic>()
  for (const topic of new Set([...places.values()].map(({ topic }) => topic))) {
    const own = [...places.values()].filter(place => place.topic === topic)
    const retries = Math.max(...[...seen.values()].filter(one => one.topic === topic).map(one => one.deliveries)) - 1
    const options = { ...(retries === 0 ? {} : { retries }), ...(dlq.has(topic) ? { dlq: true } : {}) }
    topics.set(topic, { options, partitions: Math.max(...own.map(({ partition }) => partition)) + 1 })
  }
  return { inputs, topics, places, contents }
}

/** Undefined: the consequences do not fit between the inputs. */
function written({ inputs, topics, places, contents }: Recorded, spacing: number): string | undefined {
  const marks = inputs.map(({ what, letter }, at) => ({ what, mark: letter, frame: at * spacing }))
  const calls: [string, ...unknown[]][] = []
  // In the replay, a partition's records start at offset 0, in the order of their deliveries.
  const letters = new Map<string, string>()
  for (const [topic, { partitions }] of topics) {
    const own = rows(partitions, partition =>
      marks.filter(({ what, mark }) => {
        const place = places.get(mark)!
        return what === 'delivered' && place.topic === topic && place.partition === partition
      }),
    )
    for (const [partition, row] of own.entries()) {
      for (const [at, { mark }] of row.entries()) letters.set(nameOf({ topic, partition, offset: BigInt(at) }), mark)
    }
    const special = [...contents].filter(([letter, of]) => places.get(letter)!.topic === topic && of !== letter)
    const legend = special.length === 0 ? [] : [Object.fromEntries(special)]
    calls.push(['records', topic, own.map(drawDiagram), ...legend])
  }
  for (const [what, helper] of [
    ['acked', 'ack'],
    ['failed', 'fail'],
  ] as const) {
    const own = marks.filter(mark => mark.what === what)
    if (own.length > 0) calls.push([helper, drawDiagram(own)])
  }
  const seen = replayed(topics, calls, letters)
  if (!seen.every(({ diagrams }) => diagrams.every(row => writable(row).length <= 1))) return undefined
  const expectations = seen.map(({ helper, args, diagrams }) => {
    const drawn = diagrams.map(drawDiagram)
    return `${helper}(${args.map(literal).join(', ')}).toBe(${literal(args.length === 0 ? drawn[0] : drawn)})`
  })
  const used = [
    'createClient',
    ...new Set(calls.map(([helper]) => helper)),
    ...new Set(seen.map(({ helper }) => helper)),
  ]
  return testText({
    title: 'does what was recorded',
    opening: [
      'const client = createClient()',
      '// Your own pipeline goes in the place of subscribe(); then leave out ack and fail.',
      ...[...topics].map(([topic, { options }]) => {
        const args = [topic, ...(Object.keys(options).length === 0 ? [] : [options])]
        return `client.topic(${args.map(literal).join(', ')}).subscribe()`
      }),
      ...calls.map(([helper, ...args]) => `${helper}(${args.map(literal).join(', ')})`),
    ],
    helpers: used,
    lines: [],
    closing: expectations,
    options: {},
  })
}

interface Seen {
  readonly helper: string
  readonly args: readonly unknown[]
  readonly diagrams: readonly (readonly Mark[])[]
}

function replayed(
  topics: Recorded['topics'],
  calls: readonly [string, ...unknown[]][],
  letters: ReadonlyMap<string, string>,
): Seen[] {
  const deliveries: (Mark & { readonly place: Place })[] = []
  const commits: { readonly frame: number; readonly place: Place }[] = []
  const copies: (Mark & { readonly topic: string })[] = []
  runVirtually({}, (run, _, clock) => {
    const { broker, createClient } = run.helpers
    const of = (place: Place) => letters.get(nameOf(place))
    const client = createClient()
    for (const [topic, { options }] of topics) {
      client.topic(topic, options).subscribe(record => {
        const { topic, partition, offset } = record
        const place = { topic, partition, offset }
        deliveries.push({ frame: clock.now(), mark: of(place)!, place })
      })
    }
    const before = new Map<string, bigint>()
    broker.commits.subscribe(({ topic, partition, offset }) => {
      const name = `${topic} ${partition}`
      if ((before.get(name) ?? 0n) === offset) return
      before.set(name, offset)
      commits.push({ frame: clock.now(), place: { topic, partition, offset } })
    })
    broker.written.subscribe(record => {
      if (record.topic !== 'retry' && record.topic !== 'dlq') return
      const mark = originsOf(record)
        .map(of)
        .find(letter => letter !== undefined)
      if (mark !== undefined) copies.push({ frame: clock.now(), mark, topic: record.topic })
    })
    for (const [helper, ...args] of calls) {
      ;(run.helpers as unknown as Record<string, Call>)[helper]!(...(args as [never, string]))
    }
    clock.flushUntil(run.begin() + 10_000)
    run.end()
  })
  const positions = [...new Set(commits.map(({ place }) => place.offset).filter(offset => offset > 9n))]
  const markOf = (offset: bigint) => (offset > 9n ? letterAt(positions.indexOf(offset)) : String(offset))
  const named = Object.fromEntries(positions.map(offset => [markOf(offset), Number(offset)]))
  return [
    ...[...topics].flatMap(([topic, { partitions }]): Seen[] => [
      {
        helper: 'expectDeliveries',
        args: [topic],
        diagrams: rows(partitions, partition =>
          deliveries.filter(({ place }) => place.topic === topic && place.partition === partition),
        ),
      },
      {
        helper: 'expectCommits',
        args: [topic, ...(positions.length === 0 ? [] : [{ positions: named }])],
        diagrams: rows(partitions, at =>
          commits
            .filter(({ place }) => place.topic === topic && place.partition === at)
            .map(({ frame, place }) => ({ frame, mark: markOf(place.offset) })),
        ),
      },
    ]),
    { helper: 'expectRetries', args: [], diagrams: [copies.filter(({ topic }) => topic === 'retry')] },
    { helper: 'expectDeadLetters', args: [], diagrams: [copies.filter(({ topic }) => topic === 'dlq')] },
  ]
}

function rows<T>(count: number, of: (partition: number) => T): T[] {
  return Array.from({ length: count }, (_, partition) => of(partition))
}

function sourceOf({ topic, partition, offset }: RecordedEntry): string {
  return nameOf({ topic: topic!, partition: partition!, offset: BigInt(offset!) })
}

/** After the alphabet come CJK ideographs, which are letters too. */
function letterAt(at: number): string {
  return alphabet[at] ?? String.fromCodePoint(0x4e00 + at)
}
