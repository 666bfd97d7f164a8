import fc from 'fast-check'
import { lastValueFrom } from 'rxjs'
import { describe, expect, it, vi } from 'vitest'
import { type ErrorName, errorCode } from '../../src/protocol/errors'
import { type Asked, type Fate, refusing } from '../fake-broker/asked'
import { brokers, Reading } from '../fake-broker/reading'
import { Scope } from '../fake-broker/scope'

const runs = Number(process.env.RXMIKA_HISTORIES ?? 60)
const seed = Number(process.env.RXMIKA_SEED ?? 1)
const nodes = 2
/** The maximum time after the last fault until everything is read, ms. */
const recovery = 10_000

/** The steps on a topic that is read, without waiting for their effects. */
type Step =
  /** The leader of the new partition; -1: none at first. */
  | { readonly do: 'add'; readonly leader: number }
  | { readonly do: 'elect' }
  | { readonly do: 'move'; readonly which: number; readonly leader: number }
  | { readonly do: 'remake'; readonly partitions: number }
  | { readonly do: 'write'; readonly which: number }
  /** One broker has the metadata of an earlier moment, or the present metadata. */
  | { readonly do: 'fall back'; readonly node: number; readonly to: number }
  | { readonly do: 'hear'; readonly node: number }
  /** Applies to the next requests of that name: those about an added partition, or all of them. */
  | { readonly do: 'refuse'; readonly request: string; readonly code: ErrorName; readonly times: number }
  | { readonly do: 'lose'; readonly request: string }
  | { readonly do: 'slow'; readonly request: string; readonly delay: number }
  | { readonly do: 'subscribe' }
  | { readonly do: 'pause' }
  | { readonly do: 'resume' }
  | { readonly do: 'look' }
  | { readonly do: 'pass'; readonly ms: number }

const request = fc.constantFrom('Metadata', 'ListOffsets', 'Fetch', 'OffsetFetch', 'JoinGroup', 'SyncGroup')
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('add' as const), leader: fc.constantFrom(-1, 0, 1) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'elect' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('move' as const), which: fc.nat(9), leader: fc.nat(nodes - 1) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remake' as const), partitions: fc.constantFrom(1, 2, 3) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('write' as const), which: fc.nat(9) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('fall back' as const), node: fc.nat(nodes - 1), to: fc.nat(9) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('hear' as const), node: fc.nat(nodes - 1) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('refuse' as const),
      request: fc.constantFrom('ListOffsets', 'Fetch'),
      code: fc.constantFrom<ErrorName>(
        'UNKNOWN_TOPIC_OR_PARTITION',
        'LEADER_NOT_AVAILABLE',
        'NOT_LEADER_OR_FOLLOWER',
        'FENCED_LEADER_EPOCH',
        'UNKNOWN_TOPIC_ID',
      ),
      times: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose' as const), request }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('slow' as const), request, delay: fc.integer({ min: 1, max: 200 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'subscribe' as const }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Step>({ do: 'pause' }, { do: 'resume' }, { do: 'look' }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 150 }) }) },
)

const history = fc.record({
  startFrom: fc.constantFrom('earliest' as const, 'latest' as const),
  partitions: fc.constantFrom(1, 2),
  /** Whether the steps begin only after the member has its first partitions. */
  isSettled: fc.boolean(),
  steps: fc.array(step, { minLength: 4, maxLength: 16 }),
})
type History = typeof history extends fc.Arbitrary<infer T> ? T : never
type GroupProtocol = 'classic' | 'consumer' | undefined

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

/** Returns the violations. */
async function play(groupProtocol: GroupProtocol, given: History): Promise<string | undefined> {
  await using test = new Scope()
  const kafka = await brokers(test, nodes)
  kafka.create('orders', ...Array.from({ length: given.partitions }, (_, partition) => partition % nodes))
  kafka.create('refunds', 1)
  const views = [kafka.view]
  const changed = () => void views.push(kafka.view)
  /** The values that must be read. If the topic was created again: the values of the present one. */
  let wanted: string[] = []
  let isSubscribed = false
  let count = 0
  const write = (partition: number) => {
    const value = `${partition}/${count++}`
    kafka.log('orders', partition).append(value)
    wanted.push(value)
  }
  const mends: (() => void)[] = []
  const next = (name: string, fate: Fate, times = 1, about: (asked: Asked) => boolean = () => true) => {
    let left = times
    mends.push(kafka.on(name, asked => (about(asked) && left-- > 0 ? fate : undefined)))
  }

  const request = groupProtocol === undefined ? { group: undefined } : { groupProtocol }
  const { startFrom } = given
  const reading = await Reading.start(test, kafka, ['orders'], { ...request, startFrom, metadataMaxAge: 100 })
  const assigned = () => reading.until(() => reading.error !== undefined || reading.assigned.size >= given.partitions)
  // With `latest`, values written before the member has looked up the end are not expected.
  if (given.isSettled || startFrom === 'latest') await assigned()
  for (const step of given.steps) {
    const { logs } = kafka.topics.get('orders')!
    if (step.do === 'add') kafka.topics.get('orders')!.addPartition(step.leader)
    else if (step.do === 'elect') for (const log of logs) log.leader = Math.max(log.leader, 0)
    else if (step.do === 'move') {
      const log = logs[step.which % logs.length]!
      log.leader = step.leader
      log.newEpoch()
    } else if (step.do === 'remake') {
      kafka.create('orders', ...Array.from({ length: step.partitions }, (_, partition) => partition % nodes))
      wanted = []
    } else if (step.do === 'write') write(step.which % logs.length)
    else if (step.do === 'fall back') kafka.shows(step.node, views[step.to % views.length])
    else if (step.do === 'hear') kafka.shows(step.node, undefined)
    else if (step.do === 'refuse') next(step.request, refusing(errorCode[step.code]), step.times)
    else if (step.do === 'lose') next(step.request, { ending: 'cut' })
    else if (step.do === 'slow') next(step.request, { delay: step.delay })
    else if (step.do === 'subscribe') {
      reading.driver.subscribe(['orders', 'refunds'])
      isSubscribed = true
    } else if (step.do === 'pause') reading.driver.pause([...reading.assigned.values()])
    else if (step.do === 'resume') reading.driver.resume([...reading.assigned.values()])
    else if (step.do === 'look') lastValueFrom(reading.driver.endOffsets('refunds')).catch(() => {})
    else await pause(step.ms)
    if (step.do === 'add' || step.do === 'elect' || step.do === 'move' || step.do === 'remake') changed()
  }

  for (const mend of mends) mend()
  for (let node = 0; node < nodes; node++) kafka.shows(node, undefined)
  const { logs } = kafka.topics.get('orders')!
  for (const log of logs) log.leader = Math.max(log.leader, 0)
  reading.driver.resume([...reading.assigned.values()])
  for (let partition = 0; partition < logs.length; partition++) write(partition)
  const since = performance.now()
  const isThere = () => reading.error !== undefined || reading.has(...wanted)
  const isReading = () => !isSubscribed || reading.assigned.has('refunds-0')
  await vi.waitUntil(() => isThere() && isReading(), { timeout: recovery, interval: 20 }).catch(() => {})
  if (reading.error !== undefined) return `it ended by ${reading.error}`
  const missing = wanted.filter(value => !reading.has(value))
  if (missing.length > 0) return `${missing.join()} was not read within ${recovery} ms; read: ${reading.records.join()}`
  if (!isReading()) return `refunds-0 was not assigned within ${recovery} ms`
  if (performance.now() - since > recovery) return 'it took too long'
  // For a topic that was created again, a broker with old metadata may name an id that looks newer.
  if (groupProtocol === undefined && !given.steps.some(each => each.do === 'remake')) {
    const twice = wanted.filter(value => reading.records.filter(record => record.endsWith(` ${value}`)).length > 1)
    if (twice.length > 0) return `${twice.join()} was read twice: ${reading.records.join()}`
  }
  return undefined
}

describe('a topic to which partitions are added', { timeout: 300_000 }, () => {
  for (const groupProtocol of ['classic', 'consumer', undefined] as const) {
    it(`is read completely, whenever each broker learns of them (${groupProtocol ?? 'without a group'})`, async () => {
      const drawn = fc.sample(history, { numRuns: runs, seed })
      const batch = 15
      for (let at = 0; at < drawn.length; at += batch) {
        const given = drawn.slice(at, at + batch)
        const wrong = await Promise.all(given.map(each => play(groupProtocol, each)))
        for (const [which, each] of given.entries()) expect(wrong[which], JSON.stringify(each)).toBeUndefined()
      }
    })
  }
})
