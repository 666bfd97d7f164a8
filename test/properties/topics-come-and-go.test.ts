import fc from 'fast-check'
import {
  type Client,
  ConfigurationError,
  createClient,
  type RxMikaError,
  TopicAlreadyRegisteredError,
  type TopicSelection,
} from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { expect, it } from 'vitest'
import { Clock } from '../unit/clock.js'

const runs = Number(process.env.RXMIKA_HISTORIES ?? 300)
const seed = Number(process.env.RXMIKA_SEED ?? 1)

/** Some with the client's suffix, some without, and its own retry topic. */
const names = ['a-1', 'a-2', 'b-1', 'ab', 'retry'] as const
const suffix = '-s'
const selections: readonly TopicSelection[] = [
  ...['a-1', 'b-1', 'ab'],
  ...[['a-1', 'b-1'], ['ab'], ['b-1', 'a-2']],
  ...[/^a/, /^b-/, /1$/, /./, /b/g],
]

type Step =
  | { readonly do: 'create' | 'delete' | 'publish' | 'pause' | 'resume'; readonly topic: (typeof names)[number] }
  | { readonly do: 'register' | 'pause-all' | 'resume-all'; readonly selection: number }
  | { readonly do: 'start' }
  | { readonly do: 'revoke' }

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constantFrom('create', 'publish', 'publish'), topic: fc.constantFrom(...names) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constantFrom('delete', 'delete', 'pause', 'resume'),
        topic: fc.constantFrom(...names),
      }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('register'), selection: fc.nat(selections.length - 1) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constantFrom('pause-all', 'resume-all'),
        selection: fc.nat(selections.length - 1),
      }),
    },
    { weight: 2, arbitrary: fc.constant({ do: 'start' as const }) },
    { weight: 1, arbitrary: fc.constant({ do: 'revoke' as const }) },
  ),
  { minLength: 10, maxLength: 40 },
) as fc.Arbitrary<readonly Step[]>

const plans = fc.record({
  startFrom: fc.constantFrom('earliest' as const, 'latest' as const),
  groupProtocol: fc.constantFrom('classic' as const, 'consumer' as const, undefined),
  members: fc.constantFrom(1, 2),
  partitions: fc.constantFrom(1, 2),
  steps,
})

/** A registration, in a model of the rules. */
interface Registered {
  readonly selection: TopicSelection
  readonly paused: Set<string>
  allPaused: boolean
}

const has = (selection: TopicSelection, topic: string) =>
  typeof selection === 'string'
    ? selection === topic
    : selection instanceof RegExp
      ? topic !== 'retry' && new RegExp(selection.source).test(topic)
      : selection.includes(topic)

/** A topic from its creation to its deletion: the records written to it, and those delivered. */
interface Life {
  readonly name: string
  readonly written: string[]
  /** How many records had been written when its registration, or its client, began to read. */
  skipped: number | undefined
}

function play({
  startFrom,
  groupProtocol,
  members,
  partitions,
  steps,
}: Parameters<Parameters<typeof plans.filter>[0]>[0]): void {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions, autoCreate: false })
  broker.createTopic(`retry${suffix}`)
  // Without a group each client would read everything.
  const isGroup = groupProtocol !== undefined
  const errors: RxMikaError[] = []
  const clients: Client[] = Array.from({ length: isGroup ? members : 1 }, () => {
    const group = isGroup ? { group: 'g', groupProtocol, retryTopic: 'retry' } : {}
    const client = createClient({
      driver: broker.driver(),
      env: {},
      logger: false,
      suffix,
      startFrom,
      commitInterval: 1,
      ...group,
    })
    client.errors.subscribe(error => errors.push(error))
    return client
  })
  const registrations: Registered[] = []
  const lives = new Map<string, Life>([['retry', { name: 'retry', written: [], skipped: undefined }]])
  const seen = new Map<Registered, string[]>()
  const wanted = new Map<Registered, Set<string>>()
  let started = false
  let count = 0

  const isTaken = (selection: TopicSelection) =>
    selection instanceof RegExp
      ? registrations.some(each => String(each.selection) === String(selection))
      : [selection]
          .flat()
          .some(name => registrations.some(each => has(each.selection as TopicSelection, name as string)))
  const ownerOf = (topic: string) => {
    if (topic === 'retry') return undefined
    const named = registrations.find(({ selection }) => !(selection instanceof RegExp) && has(selection, topic))
    return named ?? registrations.find(({ selection }) => has(selection, topic))
  }

  const register = (selection: TopicSelection) => {
    const taken = isTaken(selection)
    const missing = typeof selection === 'string' && !lives.has(selection)
    // Not before the start, where it would close the client. Another test has that.
    if (missing && !taken && !started) return
    const registered: Registered = { selection, paused: new Set(), allPaused: false }
    const got: string[] = []
    let failures = 0
    for (const client of clients) {
      const attempt = () =>
        client.topic(selection).subscribe({
          next: record => {
            got.push(`${record.topic} ${record.value}`)
            record.ack()
          },
          error: error => {
            expect(error).toBeInstanceOf(ConfigurationError)
            failures++
          },
        })
      if (taken) expect(attempt).toThrow(TopicAlreadyRegisteredError)
      else attempt()
    }
    if (taken) return
    clock.runTo(clock.now() + 50)
    expect(failures).toBe(missing ? clients.length : 0)
    if (missing) {
      expect(errors.splice(0)).toHaveLength(clients.length)
      return
    }
    registrations.push(registered)
    if (started) beginReading()
    seen.set(registered, got)
    wanted.set(registered, new Set())
  }

  /** Notes for each existing topic how many records the newest registration does not read. */
  const beginReading = () => {
    for (const life of lives.values()) {
      if (ownerOf(life.name) !== undefined) life.skipped ??= startFrom === 'latest' ? life.written.length : 0
    }
  }

  const isPaused = (owner: Registered, topic: string) => owner.allPaused !== owner.paused.has(topic)

  const write = ({ name, written }: Life) => {
    broker.publish(name + suffix, { value: `${++count}`, partition: count % partitions })
    written.push(`${name} ${count}`)
  }

  const perform = (step: Step) => {
    switch (step.do) {
      case 'create': {
        if (lives.has(step.topic)) return
        broker.createTopic(step.topic + suffix)
        // A topic that is created while its registration reads is read from its beginning.
        const life = { name: step.topic, written: [], skipped: started && ownerOf(step.topic) ? 0 : undefined }
        lives.set(step.topic, life)
        // Written at once, before the client can have noticed the topic.
        return write(life)
      }
      case 'delete': {
        const owner = ownerOf(step.topic)
        // A topic that is registered by name errors its stream, which another test has.
        if (step.topic === 'retry' || !lives.has(step.topic) || typeof owner?.selection === 'string') return
        broker.deleteTopic(step.topic + suffix)
        lives.delete(step.topic)
        return
      }
      case 'publish': {
        const life = lives.get(step.topic)
        if (life !== undefined && step.topic !== 'retry') write(life)
        return
      }
      case 'register':
        return register(selections[step.selection]!)
      case 'pause':
      case 'resume': {
        const owner = ownerOf(step.topic)
        if (owner === undefined) return
        for (const client of clients) client[step.do](step.topic)
        if ((step.do === 'pause') === owner.allPaused) owner.paused.delete(step.topic)
        else owner.paused.add(step.topic)
        return
      }
      case 'pause-all':
      case 'resume-all': {
        const selection = selections[step.selection]!
        const found = registrations.find(each => each.selection === selection)
        if (found === undefined) return
        found.allPaused = step.do === 'pause-all'
        found.paused.clear()
        for (const client of clients) client[found.allPaused ? 'pause' : 'resume'](selection)
        return
      }
      case 'start':
        started = true
        beginReading()
        for (const client of clients) client.start()
        return
      case 'revoke': {
        const [held] = broker.group(`g${suffix}`)?.members.flatMap(({ assignments }) => assignments) ?? []
        if (held !== undefined) broker.revoke(`g${suffix}`, held.topic, held.partition)
      }
    }
  }

  for (const step of steps) {
    perform(step)
    clock.runTo(clock.now() + 50)
    expect(errors).toEqual([])
    if (!started) continue
    for (const { name, written, skipped } of lives.values()) {
      const owner = ownerOf(name)
      if (owner === undefined || isPaused(owner, name)) continue
      for (const record of written.slice(skipped)) wanted.get(owner)!.add(record)
    }
    for (const [registered, got] of seen) {
      // Each stream gets each of its records once, and no others. A paused topic may have been deleted before it was delivered.
      expect(got.toSorted()).toEqual([...wanted.get(registered)!].sort())
    }
  }
  for (const client of clients) client.close()
  clock.runTo(clock.now() + 100)
  expect(clients.map(({ currentState }) => currentState)).toEqual(clients.map(() => 'closed'))
}

it('delivers each record once to the stream of its topic, while topics and registrations are added and removed', {
  timeout: 600_000,
}, () => {
  fc.assert(fc.property(plans, play), { numRuns: runs, seed })
})
