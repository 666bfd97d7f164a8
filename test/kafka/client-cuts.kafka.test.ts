import { tap } from 'rxjs'
import { CommitError, ConnectionError } from 'rxmika'
import { expect } from 'vitest'
import { consumerGroupHeartbeat } from '../../src/protocol/messages/consumer-group-heartbeat'
import { syncGroup } from '../../src/protocol/messages/sync-group'
import { Collected } from '../contract/collected'
import { numbered, texts } from '../contract/world'
import { api, withUnknownServerError } from './broker-proxy'
import { describeOwnKafka } from './describe-kafka'
import { combinations, groupProtocols } from './group-protocols'
import { ownKafka } from './own-kafka'

describeOwnKafka('a client whose connections are cut', () => {
  const kafka = ownKafka({ proxied: true })
  const { backend, scenario } = kafka

  for (const [at, groupProtocol] of combinations(['request', 'mid-answer'] as const, groupProtocols)) {
    scenario(`commits again when a commit is cut, and redelivers nothing (${at}, ${groupProtocol})`, async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 5))
      const run = world.client({ group, groupProtocol, brokers: kafka.server.brokers })
      run.expected = [CommitError]
      const seen = new Collected(run.client.topic(topic))
      run.client.start()
      await seen.count(5)
      const cut = kafka.proxy.interfere({ api: api.offsetCommit, at })
      seen.values[0]!.ack()
      await cut
      for (const record of seen.values.slice(1)) record.ack()
      await run.committed(topic, 0, 5)
      expect(await backend.committed(group, topic, 0)).toBe(5n)
      await run.client.close()
      expect(texts(seen)).toEqual(['0', '1', '2', '3', '4'])
      const types = run.events.values.map(({ type }) => type)
      expect(types.filter(type => ['lost', 'restarted', 'disconnected'].includes(type))).toEqual([])
    })
  }

  for (const at of ['request', 'mid-answer'] as const) {
    scenario(`writes each copy once when a produce is cut, and commits its source after it (${at})`, async world => {
      const group = world.name('group')
      const names = ['orders', 'retries', 'dlq'].map(name => world.topic(name))
      const [topic, retryTopic, dlqTopic] = (await Promise.all(names)) as [string, string, string]
      await backend.publish(topic, numbered(0, 5))
      const run = world.client({ group, retryTopic, dlqTopic, brokers: kafka.server.brokers })
      const seen = new Collected(
        run.client.topic(topic, { retries: 1, dlq: true }).pipe(tap(record => record.fail(new Error('no')))),
      )
      const toRetry = kafka.proxy.interfere({ api: api.produce, at, when: ofTopic(retryTopic) })
      const toDlq = toRetry.then(() => kafka.proxy.interfere({ api: api.produce, at, when: ofTopic(dlqTopic) }))
      run.client.start()
      await Promise.all([toRetry, toDlq, run.committed(topic, 0, 5), run.committed(retryTopic, 0, 5)])
      expect(seen.values).toHaveLength(10)
      for (const copies of [retryTopic, dlqTopic]) {
        expect(texts(await backend.records(copies)).sort()).toEqual(['0', '1', '2', '3', '4'])
      }
    })
  }

  for (const groupProtocol of groupProtocols) {
    scenario(
      `reports why its group refuses it, and continues when the group accepts it (${groupProtocol})`,
      async world => {
        const topic = await world.topic('orders')
        const group = world.name('group')
        const asked = groupProtocol === 'classic' ? syncGroup : consumerGroupHeartbeat
        let refusing = true
        const refuse = (): Promise<void> =>
          kafka.proxy
            .interfere({ api: asked.key, at: withUnknownServerError(asked) })
            .then(() => (refusing ? refuse() : undefined))
        void refuse()
        const run = world.client({ group, groupProtocol, brokers: kafka.server.brokers })
        run.expected = [ConnectionError]
        run.client.topic(topic).subscribe()
        run.client.start()
        await run.errors.count(1)
        refusing = false
        expect(run.errors.values[0]!.message).toContain(`group '${group}' does not let this member in`)
        expect(run.errors.values[0]!.message).toContain('UNKNOWN_SERVER_ERROR')
        await run.event('state', ({ state }) => state === 'running')
      },
    )
  }
})

/** Topic names are plain text in the requests and answers of the versions in use. */
function ofTopic(topic: string): (frame: Buffer) => boolean {
  return frame => frame.includes(topic)
}
