import { describe, expect, it } from 'vitest'
import { WritingWorld } from '../../fake-broker/writing-world'

describe('an acknowledgement belongs to its record', () => {
  it.each([
    ['NOT_ENOUGH_REPLICAS_AFTER_APPEND', 20],
    ['REQUEST_TIMED_OUT', 7],
    ['no answer', 'cut' as const],
  ])('after %s and refusals until its publisher gave up', (_, answer) => {
    const world = new WritingWorld({ nodes: 1, topics: { t: 1 } })
    const warm = world.send('warm')
    world.pass(1_000)
    expect(warm.acknowledged).toBe(true)
    let attempts = 0
    world.cluster.fate = () => (attempts++ === 0 ? { append: true, answer } : { append: false, answer: 19 })
    const x = world.send('X')
    world.pass(20_000)
    expect(attempts).toBeGreaterThan(10)
    expect(x.delays.at(-1)!.error.message).toContain('t-0: NOT_ENOUGH_REPLICAS (19)')
    x.wanted = false
    world.cluster.fate = () => ({ append: true })
    const y = world.send('Y')
    world.pass(20_000)
    expect(y.result).toEqual({ ok: true, topic: 't', partition: 0, offset: 2n })
    expect(world.values()).toEqual(['warm', 'X', 'Y'])
  })
})
