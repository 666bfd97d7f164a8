import fc from 'fast-check'
import { expect, it } from 'vitest'
import { anyStruct, asKafkaJson } from '../../unit/protocol/any-value'
import { type MessageHalf, messageHalves } from '../../unit/protocol/message-halves'
import { vectors } from '../../unit/protocol/vectors'
import { describeOwnKafka } from '../describe-kafka'
import { readByKafka } from './read-by-kafka'

const samples = 25

describeOwnKafka("Kafka's own classes", () => {
  it('read every request and response correctly, and write the same bytes', async () => {
    const cases = messageHalves.flatMap(half =>
      fc
        .sample(anyStruct(half.fields, half.version), samples)
        .map(value => ({ half, value, bytes: half.encode(value) })),
    )
    expect(new Set(cases.map(({ half }) => half.name)).size).toBeGreaterThan(10)
    const answers = await readByKafka(cases.map(({ half, bytes }) => ({ ...place(half), hex: bytes.toString('hex') })))
    cases.forEach(({ half, value, bytes }, i) => {
      const where = `${half.name} version ${half.version}`
      const { hex, json } = answers[i]!
      expect(json, where).toEqual(asKafkaJson(half.fields, half.version, value))
      expect(hex, where).toBe(bytes.toString('hex'))
    })
  })

  it('confirm the stored test vectors', async () => {
    const answers = await readByKafka(vectors)
    expect(answers).toEqual(vectors.map(({ hex, json }) => ({ hex, json })))
  })
})

const place = ({ name, version }: MessageHalf) => ({ name, version })
