import { setImmediate, setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { pino } from 'pino'
import { expect } from 'vitest'
import { kafkaDriver } from '../../src/drivers/kafka/index'
import { done, Member } from '../contract/driver-member'
import { numbered } from '../contract/world'
import { describeOwnKafka } from './describe-kafka'
import { ownKafka } from './own-kafka'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

const cycles = 12
/** Objects that have just ended may still be referenced. */
const kept = 2

/** How many of them are left after garbage collection. */
async function alive(refs: readonly WeakRef<object>[]): Promise<number> {
  let count = refs.length
  // Repeated, because the answer to the last long poll may be in flight.
  for (let round = 0; round < 50 && count > kept; round++) {
    await setImmediate()
    collectGarbage()
    count = refs.filter(ref => ref.deref() !== undefined).length
  }
  return count
}

const sockets = () => process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap').length

describeOwnKafka('the memory of a driver', () => {
  const { backend, scenario, ...kafka } = suite()

  scenario('keeps nothing of ended assignments and connections while members join and leave', async world => {
    const topic = await world.topic('orders', 2)
    await backend.publish(topic, [...numbered(0, 5), ...numbered(0, 5, 1)])
    const driver = kafkaDriver({ brokers: kafka.brokers() })
    world.drivers.push(driver)
    await done(driver.connect({ clientId: 'memory', logger: pino({ level: 'silent' }) }))
    const assignments: WeakRef<object>[] = []
    const group = world.name('group')
    const once = async () => {
      const member = new Member(driver, { group, topics: [topic] })
      await member.read(10)
      for (const assignment of member.owned.values()) assignments.push(new WeakRef(assignment))
      await done(driver.leave())
    }
    await once()
    const before = sockets()
    for (let cycle = 1; cycle < cycles; cycle++) await once()
    expect(assignments).toHaveLength(2 * cycles)
    expect(await alive(assignments)).toBeLessThanOrEqual(kept)
    // A connection for each cycle would be as many as there were cycles. The driver may open others for itself meanwhile, and
    // those that it closes take a moment.
    while (sockets() - before > cycles / 2) await setTimeout(20)
  })

  scenario('keeps nothing of assignments that a rebalance revokes and assigns again', async world => {
    const topic = await world.topic('orders', 2)
    await backend.publish(topic, [...numbered(0, 5), ...numbered(0, 5, 1)])
    const group = world.name('group')
    const connected = async () => {
      const driver = kafkaDriver({ brokers: kafka.brokers() })
      world.drivers.push(driver)
      await done(driver.connect({ clientId: 'memory', logger: pino({ level: 'silent' }) }))
      return driver
    }
    const stays = new Member(await connected(), { group, topics: [topic] })
    await stays.seen('assigned')
    const comes = await connected()
    const assignments: WeakRef<object>[] = []
    for (let cycle = 0; cycle < cycles; cycle++) {
      const member = new Member(comes, { group, topics: [topic] })
      await member.events.until(() => member.owned.size === 1)
      await done(comes.leave())
      await stays.events.until(() => stays.owned.size === 2)
      // The assignor is sticky: the partition that comes back is a new assignment each time.
      for (const assignment of stays.owned.values()) assignments.push(new WeakRef(assignment))
      stays.events.values.length = 0
      stays.reads.length = 0
    }
    const distinct = [...new Set(assignments.map(ref => ref.deref()))].length
    expect(distinct).toBeGreaterThan(1)
    const owned = new Set<object>(stays.owned.values())
    const ended = assignments.filter(ref => !owned.has(ref.deref()!))
    expect(await alive(ended)).toBeLessThanOrEqual(kept)
  })
})

function suite() {
  const own = ownKafka()
  return { backend: own.backend, scenario: own.scenario, brokers: () => own.server.brokers }
}
