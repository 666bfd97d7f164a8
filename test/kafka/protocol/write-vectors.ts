/**
 * Writes test/unit/protocol/vectors.txt: `npx tsx test/kafka/protocol/write-vectors.ts`. Needs Java and Kafka's jars.
 *
 * Values are drawn for every request and response in every version. Kafka's own classes read them, and what is kept is
 * the bytes and the JSON that those classes write, not those of this library.
 */
import { writeFileSync } from 'node:fs'
import fc from 'fast-check'
import { anyStruct } from '../../unit/protocol/any-value'
import { messageHalves } from '../../unit/protocol/message-halves'
import { KAFKA_VERSION } from '../java'
import { readByKafka } from './read-by-kafka'

const drawn = messageHalves.flatMap(({ name, version, fields, encode }, i) =>
  fc
    .sample(anyStruct(fields, version), { numRuns: 2, seed: 848 + i })
    .map(value => ({ name, version, hex: encode(value).toString('hex') })),
)
const read = await readByKafka(drawn)
const lines = drawn.map(({ name, version }, i) => `${name} ${version} ${read[i]!.hex} ${JSON.stringify(read[i]!.json)}`)
writeFileSync(
  new URL('../../unit/protocol/vectors.txt', import.meta.url),
  `# Messages as the classes of Apache Kafka ${KAFKA_VERSION} write and read them: class, version, bytes, JSON.
# Written by test/kafka/protocol/write-vectors.ts; test/kafka/protocol/messages.kafka.test.ts compares them again.
${lines.join('\n')}
`,
)
console.log(`${lines.length} vectors`)
