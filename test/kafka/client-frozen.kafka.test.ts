import { expect } from 'vitest'
import { Collected } from '../contract/collected'
import { numbered } from '../contract/world'
import { ClientProcess } from './client-process'
import { describeOwnKafka } from './describe-kafka'
import { groupProtocols, shortSessions } from './group-protocols'
import { ownKafka } from './own-kafka'

const timeouts = { sessionTimeout: 2_000, heartbeatInterval: 200, rebalanceTimeout: 2_000 }

describeOwnKafka('a client whose process is frozen', () => {
  const kafka = ownKafka({ config: shortSessions(timeouts) })
  const { backend, scenario } = kafka

  for (const groupProtocol of groupProtocols) {
    scenario(
      `delivers and commits nothing of other members’ partitions when it wakes, and continues once it has joined (${groupProtocol})`,
      async world => {
        const group = world.name('group')
        const topic = await world.topic('orders')
        const all = 4_000
        await backend.publish(topic, numbered(0, all))
        // More records than it may have in flight, so that records are left to deliver after the freeze.
        const frozen = new ClientProcess({
          ...{ topic, acks: 3, maxInFlight: 20 },
          options: { brokers: kafka.server.brokers, group, groupProtocol, ...timeouts },
        })
        await frozen.committed(0, 5)
        frozen.send({ do: 'freeze' })

        const heir = world.client({ group, groupProtocol, ...timeouts })
        const inherited = new Collected(heir.client.topic(topic))
        heir.client.start()
        await inherited.count(all - 100)
        for (const record of inherited.values.slice(0, 1_000)) record.ack()
        const position = inherited.values[1_000]!.offset
        await heir.committed(topic, 0, position)

        const woken = Date.now()
        frozen.signal('SIGCONT')
        await frozen.event('lost')
        const late = frozen.all('delivered').filter(({ time }) => time >= woken)
        console.info(`${late.length} records delivered between waking up and \`lost\``)
        expect(late).toEqual([])
        // The signals of all its records were aborted, and later settlements do not count.
        expect(frozen.all('aborted').length).toBeGreaterThanOrEqual(20)
        await frozen.event('late-settlement')
        // The event is emitted during `ack()`, whose result is reported after it.
        await frozen.messages.until(() => frozen.all('acked').at(-1)?.counted === false)
        expect(await backend.committed(group, topic, 0)).toBe(position)

        // It is a member again, and gets the records that the other one leaves.
        expect(await heir.client.close()).toMatchObject({ drained: false, unsettled: inherited.values.length - 1_000 })
        const before = frozen.all('delivered').length
        await frozen.delivered(before + 20)
        expect(frozen.all('delivered')[before]).toMatchObject({ offset: Number(position) })
        await frozen.committed(0, Number(position) + 1)
      },
    )
  }
})
