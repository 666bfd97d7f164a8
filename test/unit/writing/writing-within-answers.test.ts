import { describe, expect, it } from 'vitest'
import { WriteError } from '../../../src/drivers/kafka/writing/leaders'
import { type Sent, WritingWorld } from '../../fake-broker/writing-world'

/** Writes another record the first time that this one is told why it waits. */
function whenDelayed(sent: Sent, write: () => void): void {
  let isTold = false
  sent.delayed = () => {
    if (isTold) return
    isTold = true
    write()
  }
}

describe('a record that is written while another one', () => {
  it('is told why it waits for the topic goes behind all that wait', () => {
    const world = new WritingWorld()
    const busy = new WriteError('they are busy', { cause: undefined, permanent: false, unsent: true })
    world.leaders.refusal = what => (what === 'partitions' ? busy : undefined)
    whenDelayed(world.send('a'), () => world.send('c'))
    world.send('b')
    world.pass(100)
    world.heal()
    expect(world.values()).toEqual(['a', 'b', 'c'])
  })

  it('is told why it waits behind a batch goes behind all that wait', () => {
    const world = new WritingWorld()
    world.cluster.fate = () => ({ append: false, answer: 7 })
    world.send('a')
    world.pass(1)
    whenDelayed(world.send('b'), () => world.send('d'))
    world.send('c')
    world.pass(30)
    world.heal()
    expect(world.values()).toEqual(['a', 'b', 'c', 'd'])
  })

  it('is refused goes behind those that wait for its partition', () => {
    const world = new WritingWorld({ topics: { t: 3 } })
    const counts = world.cluster.topics as Map<string, number>
    counts.set('t', 2)
    const missing = world.send('a', { partition: 5 })
    world.send('b', { partition: 2 })
    missing.settle = () => void world.send('c', { partition: 2 })
    world.pass(980)
    counts.set('t', 3)
    world.heal()
    expect(world.values(2)).toEqual(['b', 'c'])
  })
})

it('writing may end while a record is refused, with a batch of another partition ready', () => {
  const world = new WritingWorld()
  world.send('a')
  world.pass(100)
  const ready = world.send('b')
  const refused = world.send('c', { partition: 1 })
  refused.record = () => {
    throw new Error('it cannot be made')
  }
  refused.settle = () => world.writing.end('the driver is closed')
  expect(() => world.pass(100)).not.toThrow()
  expect(ready.result).toMatchObject({ ok: false })
})
