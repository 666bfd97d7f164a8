import { expect, it } from 'vitest'
import { kafkaError, kafkaErrors } from '../../../src/protocol/errors.js'
import { describeOwnKafka } from '../describe-kafka'
import { KAFKA_VERSION } from '../java'
import { runOnKafkaClasses } from './java-program'

describeOwnKafka('the table of error codes', () => {
  it("agrees with Kafka's own classes about every code", async () => {
    const lines = await runOnKafkaClasses('KafkaErrors.java')
    const unknownLeaderEpoch = 75
    expect(lines.length).toBeGreaterThan(100)
    for (const line of lines) {
      const [code, name, retriable, stale] = line.split('\t')
      const error = kafkaError(Number(code))
      expect({
        name: error.name,
        retriable: error.has('retriable'),
        stale: error.has('staleMetadata'),
      }).toEqual({
        name,
        retriable: retriable === 'true',
        stale: stale === 'true' || error.code === unknownLeaderEpoch,
      })
    }
    // An older Kafka has fewer codes.
    if (KAFKA_VERSION === '4.4.0')
      expect(kafkaErrors.map(({ code }) => String(code))).toEqual(lines.map(line => line.split('\t')[0]))
  })
})
