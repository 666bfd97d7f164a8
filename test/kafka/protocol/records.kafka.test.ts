import fc from 'fast-check'
import { expect, it } from 'vitest'
import { encodeRecordBatch } from '../../../src/protocol/records/record-batch-encoder.js'
import { anyRecords, anySequence } from '../../unit/protocol/any-records'
import { describeOwnKafka } from '../describe-kafka'
import { runOnKafkaClasses } from './java-program'

const base64 = (bytes: Buffer | null) => bytes?.toString('base64') ?? null

describeOwnKafka("Kafka's own classes", () => {
  it('read record batches correctly, with any timestamp, header and null', async () => {
    const cases = fc.sample(fc.tuple(anyRecords, anySequence), 300)
    const batches = cases.map(([records, sequence]) => encodeRecordBatch(records, sequence).toString('hex'))
    const lines = await runOnKafkaClasses('KafkaRecords.java', `${batches.join('\n')}\n`)
    expect(lines.length).toBe(cases.length)
    cases.forEach(([records, { producerId, epoch, first }], i) => {
      if (lines[i]!.startsWith('error')) throw new Error(`${lines[i]} (${batches[i]})`)
      expect(JSON.parse(lines[i]!)).toEqual([
        {
          baseOffset: 0,
          lastOffset: records.length - 1,
          count: records.length,
          producerId: Number(producerId),
          epoch,
          sequence: first,
          maxTimestamp: Math.max(...records.map(({ timestamp }) => timestamp)),
          records: records.map(({ timestamp, key, value, headers }, offset) => ({
            offset,
            timestamp,
            key: base64(key),
            value: base64(value),
            headers: headers.map(([name, content]) => [base64(Buffer.from(name)), base64(content)]),
          })),
        },
      ])
    })
  })
})
