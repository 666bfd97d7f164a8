import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Fate } from '../../fake-broker/fake-cluster'
import { WritingWorld } from '../../fake-broker/writing-world'

const mebibyte = 1024 * 1024
const appendedUnsaid: Fate = { append: true, answer: 20 }
const refuses: Fate = { append: false, answer: 19 }

/** Gives up a record after an attempt that is in the log. The partition continues under another identity. */
function giveUp(world: WritingWorld, value: string, topic = 't'): void {
  const attempts = [appendedUnsaid]
  world.cluster.fate = () => attempts.shift() ?? refuses
  const given = world.send(value, { topic })
  world.pass(2_000)
  given.wanted = false
  world.heal()
}

describe('a record that no request can carry', () => {
  it.each([100 * mebibyte, 100 * mebibyte - 64 * 1024])('is refused alone, at once, and not sent: %i bytes', size => {
    const world = new WritingWorld()
    const before = world.send('before')
    // The memory is never touched, so it costs nothing.
    const huge = world.send('huge', { value: Buffer.allocUnsafeSlow(size) })
    const after = world.send('after')
    world.pass(100)
    expect(huge.result).toMatchObject({
      error: { retriable: false, reason: 'MESSAGE_TOO_LARGE', message: expect.stringContaining('t-0') },
    })
    expect([before.acknowledged, after.acknowledged]).toEqual([true, true])
    expect(world.values()).toEqual(['before', 'after'])
  })
})

describe('a refusal', () => {
  it.each([
    [10, 'MESSAGE_TOO_LARGE (10); the limit is max.message.bytes of the topic'],
    [29, 'TOPIC_AUTHORIZATION_FAILED (29); the right to WRITE to the topic is missing'],
    [87, 'INVALID_RECORD (87); a compacted topic takes no record without a key, for example'],
    [76, 'UNSUPPORTED_COMPRESSION_TYPE (76)'],
  ])('by error code %i says what a user can look at', (answer, why) => {
    const world = new WritingWorld()
    world.cluster.fate = () => ({ append: false, answer })
    const refused = world.send('a')
    world.pass(100)
    expect(refused.result).toMatchObject({
      error: { retriable: false, message: `a record could not be written to t-0: ${why}` },
    })
  })
})

describe('the epochs of a producer id', () => {
  it.each([32_766, 32_767])('end at 32,767: a new id follows after %i', epoch => {
    const world = new WritingWorld()
    world.leaders.epoch = epoch
    world.send('warm')
    world.pass(100)
    // The producer id is requested only when it is needed, and its epoch begins at 0.
    world.leaders.epoch = 0
    for (const round of [1, 2, 3]) {
      giveUp(world, `x${round}`)
      const y = world.send(`y${round}`)
      world.pass(100)
      expect(y.acknowledged).toBe(true)
    }
    world.check()
    expect(world.values()).toEqual(['warm', 'x1', 'y1', 'x2', 'y2', 'x3', 'y3'])
    const identities = new Set(world.cluster.arrived.map(({ batch }) => `${batch.producerId}:${batch.epoch}`))
    const ids = epoch === 32_767 ? ['1:32767', '2:0', '2:1', '2:2'] : ['1:32766', '1:32767', '2:0', '2:1']
    expect([...identities]).toEqual(ids)
  })

  it('are counted separately for each partition: others continue in theirs', () => {
    const world = new WritingWorld()
    world.leaders.epoch = 32_767
    world.send('a')
    world.send('b', { partition: 1 })
    world.pass(100)
    giveUp(world, 'x')
    world.send('a2')
    world.send('b2', { partition: 1 })
    world.pass(100)
    const at = (partition: number) => world.cluster.log('t', partition).batches.map(({ producerId }) => producerId)
    expect(at(0)).toEqual([1n, 1n, 2n])
    expect(at(1)).toEqual([1n, 1n])
    world.check()
  })
})

describe('topics whose names come from outside', () => {
  const names = (count: number) => Array.from({ length: count }, (_, at) => `topic-${at}`)
  const worldOf = (count: number, minTopics?: number) => {
    const topics = Object.fromEntries(names(count).map(name => [name, 1]))
    return new WritingWorld({ topics, ...(minTopics !== undefined && { minTopics }) })
  }

  it('are forgotten when they are not used any more, however many there are', () => {
    const world = worldOf(0)
    for (let at = 0; at < 3_000; at++) {
      // The topic does not exist, and the publisher gives up.
      const sent = world.send('v', { topic: `no-such-${at}` })
      world.pass(1)
      sent.wanted = false
      if (at % 100 === 0) world.pass(3_000)
    }
    world.pass(10_000)
    expect(world.writing.remembered).toBeLessThanOrEqual(2_000)
  })

  it('are written to again with a producer id that the forgotten writer never had', () => {
    const world = worldOf(30, 10)
    const values = ['1', '2', '3']
    for (const value of values) {
      for (const topic of names(30)) {
        world.send(value, { topic })
        world.pass(10)
      }
    }
    expect(world.writing.remembered).toBeLessThanOrEqual(20)
    world.check()
    for (const topic of names(30)) expect(world.values(0, topic)).toEqual(values)
  })

  it('are kept while a batch is in flight or in doubt', () => {
    const world = worldOf(100, 10)
    const attempts = [appendedUnsaid]
    world.cluster.fate = ({ topic }) => (topic === 'topic-0' ? (attempts.shift() ?? refuses) : { append: true })
    const x = world.send('x', { topic: 'topic-0' })
    const flood = () => {
      for (const topic of names(100).slice(1)) {
        world.send('v', { topic })
        world.pass(10)
      }
    }
    flood()
    expect(x.endedAt).toBeUndefined()
    x.wanted = false
    world.heal()
    expect(x.wasAbandoned).toBe(true)
    // The abandoned batch may still arrive. The next epoch of its producer makes the broker refuse it.
    flood()
    const y = world.send('y', { topic: 'topic-0' })
    world.pass(100)
    expect(y.acknowledged).toBe(true)
    const epochs = world.cluster.log('topic-0', 0).batches.map(({ producerId, epoch }) => [producerId, epoch])
    expect(epochs).toEqual([
      [1n, 0],
      [1n, 1],
    ])
  })

  it('never lose or duplicate a record, whichever are used again (generated)', () => {
    const use = fc.record({
      topic: fc.nat({ max: 29 }),
      gaveUp: fc.constantFrom(true, false, false, false),
      after: fc.constantFrom(0, 10, 70_000),
    })
    let forgotten = 0
    fc.assert(
      fc.property(fc.array(use, { minLength: 20, maxLength: 40 }), uses => {
        const world = worldOf(30, 3)
        for (const [at, { topic, gaveUp, after }] of uses.entries()) {
          if (gaveUp) giveUp(world, `x${at}`, `topic-${topic}`)
          world.send(`${at}`, { topic: `topic-${topic}` })
          world.pass(after)
        }
        world.heal()
        world.check()
        if (world.writing.remembered < new Set(uses.map(({ topic }) => topic)).size) forgotten++
      }),
      { numRuns: 12 },
    )
    // Otherwise the test has tried nothing.
    expect(forgotten).toBeGreaterThan(3)
  })
})
