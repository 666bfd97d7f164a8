import { tap } from 'rxjs'
import { CommitError, FetchError, RxMikaError } from 'rxmika'
import { expect } from 'vitest'
import { errorCode } from '../../src/protocol/errors'
import { Collected } from '../contract/collected'
import { numbered, texts } from '../contract/world'
import { api, withUnknownServerError } from './broker-proxy'
import { describeOwnKafka } from './describe-kafka'
import { ownKafka } from './own-kafka'

describeOwnKafka('a client whose connections are cut', () => {
  const kafka = ownKafka({ proxied: true })
  const { backend, scenario } = kafka

  for (const at of ['request', 'mid-answer'] as const) {
    scenario(`commits what it has when a commit is cut, and repeats nothing (${at})`, async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 5))
      const run = world.client({ group, brokers: kafka.server.brokers })
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

  scenario('says once which code keeps it from reading a partition, and reads on when that is over', async world => {
    const topic = await world.topic('orders')
    await backend.publish(topic, numbered(0, 2))
    const refusal = {
      api: api.fetch,
      at: (answer: Buffer) => withErrorCode(answer, topic, errorCode.UNSUPPORTED_COMPRESSION_TYPE),
      when: ofTopic(topic),
    }
    const refused = kafka.proxy.interfere(refusal).then(() => kafka.proxy.interfere(refusal))
    const run = world.client({ group: world.name('group'), brokers: kafka.server.brokers })
    run.expected = [FetchError]
    const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
    run.client.start()
    await Promise.all([refused, run.committed(topic, 0, 2)])
    expect(texts(seen)).toEqual(['0', '1'])
    expect(run.errors.values).toMatchObject([{ topic, partition: 0, offset: 0n }])
    expect(run.errors.values[0]!.message).toMatch(`${topic}-0@0`)
    expect(run.errors.values[0]!.message).toMatch(/zstd.*UNSUPPORTED_COMPRESSION_TYPE/)
  })

  scenario('says that its consumer crashes again and again for the same reason', async world => {
    const topic = await world.topic('orders')
    const group = world.name('group')
    const spoil = () => kafka.proxy.interfere({ api: api.syncGroup, at: withUnknownServerError })
    const spoilt = spoil().then(spoil).then(spoil)
    const run = world.client({ group, brokers: kafka.server.brokers })
    run.expected = [FetchError]
    run.client.topic(topic).subscribe()
    run.client.start()
    await Promise.all([spoilt, run.errors.count(1)])
    expect(run.errors.values[0]!.message).toMatch(`group '${group}' has crashed 3 times in a row`)
    await run.event('state', ({ state }) => state === 'running')
    expect(run.errors.values).toHaveLength(1)
  })

  scenario('says that its consumer was made anew, and goes on', async world => {
    const group = world.name('group')
    const topic = await world.topic('orders')
    await backend.publish(topic, numbered(0, 2))
    const spoilt = kafka.proxy.interfere({ api: api.syncGroup, at: withUnknownServerError })
    const run = world.client({ group, brokers: kafka.server.brokers })
    run.expected = [RxMikaError]
    const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
    run.client.start()
    await Promise.all([spoilt, run.event('restarted'), run.committed(topic, 0, 2)])
    expect(texts(seen)).toEqual(['0', '1'])
  })
})

/** Of the topic's first partition in an answer to Fetch, in the versions before 12, which have no compact encodings. */
function withErrorCode(answer: Buffer, topic: string, code: number): Buffer {
  const spoilt = Buffer.from(answer)
  // The topic's name, the number of its partitions, and the number of the first.
  spoilt.writeInt16BE(code, answer.indexOf(topic) + Buffer.byteLength(topic) + 4 + 4)
  return spoilt
}

/** Names stand as they are in requests and answers of the versions in use. */
function ofTopic(topic: string): (frame: Buffer) => boolean {
  return frame => frame.includes(topic)
}
