import { describe, expect, it } from 'vitest'
import { kafkaErrors } from '../../../src/protocol/errors'
import type { Fate } from '../../fake-broker/fake-cluster'
import { type Sent, WritingWorld } from '../../fake-broker/writing-world'

const refuses: Fate = { append: false, answer: 19 }

/** A second copy is accepted if the broker's answer allows only the next epoch. */
interface Case {
  readonly name: string
  readonly fate: Fate
  /** The broker does not know the producer, or refuses to continue with it. */
  readonly unknown?: boolean
  /** The broker refuses the batch because of one record, so the other records go into another batch. */
  readonly splits?: boolean
}

/** The possible fates of an attempt, by its answer, without those that such an answer excludes. */
function cases(): Case[] {
  const answered = kafkaErrors
    .filter(({ code }) => code !== 0)
    .flatMap((error): Case[] => {
      const unknown = error.has('producerUnknown')
      const splits = error.has('oneRecordToBlame')
      const fate = { append: false, answer: error.code }
      const not: Case = { name: `${error}, not appended`, fate, unknown, splits }
      if (!error.has('mayHaveBeenWritten')) return [not]
      return [not, { name: `${error}, appended`, fate: { append: true, answer: error.code }, unknown }]
    })
  const unanswered = (['silence', 'cut'] as const).flatMap(answer =>
    [true, false].map((append): Case => {
      const name = `${answer}, ${append ? '' : 'not '}appended`
      return { name, fate: { append, answer } }
    }),
  )
  return [...answered, ...unanswered, { name: 'a code newer than the table', fate: { append: true, answer: 999 } }]
}

const variants = [1, 3].flatMap(count =>
  [count, count + 1].flatMap(next => [true, false].map(gaveUp => ({ count, next, gaveUp }))),
)

/** Sends that many records in one batch. */
function batch(world: WritingWorld, name: string, count: number): Sent[] {
  return Array.from({ length: count }, (_, at) => world.send(`${name}${at}`))
}

describe.each([
  { title: 'first', before: [] },
  { title: 'repeated after an unacknowledged append', before: [{ append: true, answer: 20 }] },
  { title: 'repeated after a lost answer', before: [{ append: true, answer: 'silence' }] },
  { title: 'repeated after a lost request', before: [{ append: false, answer: 'cut' }] },
] satisfies { title: string; before: Fate[] }[])('an attempt that is $title', ({ before }) => {
  it.each(cases())('$name', ({ fate, unknown, splits }) => {
    const appendedBefore = before.some(({ append }) => append)
    for (const { count, next, gaveUp } of variants) {
      const world = new WritingWorld()
      world.send('warm')
      world.pass(1_000)
      const attempts: Fate[] = [...before, fate]
      world.cluster.fate = ({ partition }) => (partition === 1 ? { append: true } : (attempts.shift() ?? refuses))
      const xs = batch(world, 'x', count)
      world.pass(3_000)
      const beside = world.send('beside', { partition: 1 })
      world.pass(10)
      expect(beside.acknowledged, 'the partition beside it').toBe(true)
      if (gaveUp) for (const x of xs) x.wanted = false
      const ys = batch(world, 'y', next)
      world.pass(2_000)
      world.heal()
      world.check({ once: unknown !== true && !(splits === true && appendedBefore) })
      for (const y of ys) expect(y.acknowledged, `${y.value} of ${next}, after ${count}`).toBe(true)
    }
  })
})
