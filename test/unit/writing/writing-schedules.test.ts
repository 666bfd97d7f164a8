import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { kafkaErrors } from '../../../src/protocol/errors'
import type { Fate } from '../../fake-broker/fake-cluster'
import { type Sent, WritingWorld } from '../../fake-broker/writing-world'

// Codes after which a producer may keep its identity. The others allow a second copy, see leader-answers.test.ts.
const codes = kafkaErrors.filter(
  error => error.code !== 0 && !error.has('producerUnknown') && !error.has('oneRecordToBlame'),
)
const answered = fc.constantFrom(...codes).chain(error =>
  fc.record({
    append: error.has('mayHaveBeenWritten') ? fc.boolean() : fc.constant(false),
    answer: fc.constant(error.code),
  }),
)
const unanswered = fc.record({
  append: fc.constantFrom(true, false, 'late' as const),
  answer: fc.constantFrom('silence' as const, 'cut' as const),
})
const fate: fc.Arbitrary<Fate> = fc.oneof(
  { weight: 2, arbitrary: fc.constant({ append: true }) },
  { weight: 2, arbitrary: answered },
  { weight: 1, arbitrary: unanswered },
)

const partitions = 3
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      count: fc.integer({ min: 1, max: 4 }),
      partition: fc.integer({ min: 0, max: partitions - 1 }),
      topic: fc.constantFrom('t', 'u'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('give up' as const), which: fc.nat({ max: 100 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('move' as const),
      partition: fc.integer({ min: 0, max: partitions - 1 }),
      to: fc.integer({ min: 0, max: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'arrive late' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'stale metadata' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'no metadata' as const }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never
const schedule = fc.record({
  steps: fc.array(fc.record({ step, after: fc.integer({ min: 0, max: 400 }) }), { maxLength: 30 }),
  fates: fc.array(fate, { maxLength: 25 }),
})

function play({ step, after }: { readonly step: Step; readonly after: number }, world: WritingWorld): void {
  world.pass(after)
  switch (step.do) {
    case 'send':
      for (let at = 0; at < step.count; at++) {
        world.send(`${step.topic}${step.partition}#${world.sent.length}`, step)
      }
      return
    case 'give up':
      return void giveUp(world.sent[step.which % Math.max(1, world.sent.length)])
    case 'move':
      for (const topic of ['t', 'u']) world.cluster.moveLeader(topic, step.partition, step.to)
      return
    case 'arrive late':
      return world.cluster.arriveLate()
    case 'stale metadata': {
      const leaders = new Map(['t', 'u'].map(topic => [topic, world.cluster.leader(topic, 0)]))
      world.leaders.believed = (topic, partition) =>
        partition === 0 ? leaders.get(topic)! : world.cluster.leader(topic, partition)
      return
    }
    case 'no metadata':
      world.leaders.refusal = () => new Error('COORDINATOR_LOAD_IN_PROGRESS')
  }
}

function giveUp(sent: Sent | undefined): void {
  if (sent !== undefined) sent.wanted = false
}

describe('whatever brokers do', () => {
  it('acknowledged records are in the log once, in order, at the reported place, and everything ends', {
    timeout: 60_000,
  }, () => {
    let acknowledged = 0
    let abandoned = 0
    fc.assert(
      fc.property(schedule, ({ steps, fates }) => {
        const world = new WritingWorld({ nodes: 3, topics: { t: partitions, u: partitions } })
        const coming = [...fates]
        world.cluster.fate = () => coming.shift() ?? { append: true }
        for (const each of steps) play(each, world)
        world.pass(1_000)
        world.heal()
        // Delayed batches arrive last.
        world.cluster.arriveLate()
        world.check()
        acknowledged += world.sent.filter(sent => sent.acknowledged).length
        abandoned += world.sent.filter(sent => sent.wasAbandoned).length
      }),
      { numRuns: 300 },
    )
    // Otherwise the test has tried nothing.
    expect(acknowledged).toBeGreaterThan(1_000)
    expect(abandoned).toBeGreaterThan(10)
  })
})
