import { firstValueFrom, lastValueFrom, tap } from 'rxjs'
import type { HeaderPair, PublishRecord } from 'rxmika'
import { describe, expect } from 'vitest'
import type { Backend, StoredRecord } from '../backend'
import { Collected } from '../collected'
import { scenarios } from '../world'

const notText = Buffer.from([0xff, 0x00, 0xfe, 0x80, 0xc3, 0x28])

const odd: readonly HeaderPair[] = [
  ['b', Buffer.from('1')],
  ['a', notText],
  ['b', null],
  ['constructor', Buffer.from('not a function')],
  ['__proto__', Buffer.from('not an object')],
  ['2', Buffer.from('a name like an index')],
  ['1', Buffer.alloc(0)],
  ['b', Buffer.from('1')],
  ['', Buffer.from('no name')],
  ['ünï', Buffer.from('ünï')],
]

const originals: readonly Omit<PublishRecord, 'topic'>[] = [
  { key: notText, value: notText, headers: odd, timestamp: 1_600_000_000_001 },
  { key: null, value: null, headers: [['none', null]], timestamp: 1_600_000_000_002 },
  { key: Buffer.alloc(0), value: Buffer.alloc(0), headers: [], timestamp: 1_600_000_000_003 },
]

export function byteForByte(backend: Backend): void {
  const scenario = scenarios(backend)

  describe('byte for byte', () => {
    scenario('keeps key, value, timestamp and headers through publish, retry and DLQ', async world => {
      const group = world.name('group')
      const [topic, retryTopic, dlqTopic] = await Promise.all([
        world.topic('orders'),
        world.topic('retries'),
        world.topic('dlq'),
      ])
      const run = world.client({ group, retryTopic, dlqTopic })
      await firstValueFrom(run.client.publish(originals.map(original => ({ topic, ...original }))))
      const seen = new Collected(
        run.client
          .topic(topic, { retries: 2, dlq: true })
          .pipe(tap(record => (record.source.kind === 'dlq' ? record.ack() : record.fail('no')))),
      )
      run.client.start()
      await Promise.all([run.committed(topic, 0, 3), run.committed(retryTopic, 0, 6)])
      await lastValueFrom(run.client.replayDlq())

      const expected = originals.map(({ key, value, timestamp, headers }) => ({ key, value, timestamp, headers }))
      const foreign = ({ key, value, timestamp, headers }: StoredRecord) => ({
        ...{ key, value, timestamp },
        headers: headers.filter(([name]) => !name.startsWith(`mika_err_${group}_`)),
      })
      const stored = async (topic: string) => {
        const records = (await backend.records(topic)).map(foreign)
        return records.sort((a, b) => a.timestamp - b.timestamp)
      }
      expect(await stored(topic)).toEqual(expected)
      expect(await stored(retryTopic)).toEqual(expected.flatMap(record => [record, record]))
      expect(await stored(dlqTopic)).toEqual(expected)

      // And so each delivery shows them, without this library's own.
      expect(seen.values).toHaveLength(3 * 4)
      for (const record of seen.values) {
        const original = originals[Number(record.offset)]!
        expect([record.key, record.value, record.timestamp]).toEqual([original.key, original.value, original.timestamp])
      }
      for (const record of seen.values.filter(({ offset }) => offset === 0n)) {
        expect(Object.entries(record.headers)).toEqual([
          ['1', Buffer.alloc(0)],
          ['2', Buffer.from('a name like an index')],
          ['b', [Buffer.from('1'), null, Buffer.from('1')]],
          ['a', notText],
          ['constructor', Buffer.from('not a function')],
          ['__proto__', Buffer.from('not an object')],
          ['', Buffer.from('no name')],
          ['ünï', Buffer.from('ünï')],
        ])
        expect(record.header('constructor')).toEqual(Buffer.from('not a function'))
        expect(record.header('toString')).toBeUndefined()
      }
      for (const record of seen.values.filter(({ offset }) => offset === 1n)) {
        expect(record.header('none')).toBeNull()
      }
    })
  })
}
