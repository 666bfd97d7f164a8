/** Starts a Kafka for development until Ctrl-C: `npm run kafka -- --brokers 3 --version 4.1.0`. */
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { startKafka } from '../test/kafka/kafka-server'

const { values } = parseArgs({ options: { brokers: { type: 'string', default: '1' }, version: { type: 'string' } } })

const server = await startKafka({ brokers: Number(values.brokers), version: values.version, longLived: true })
console.log(`Kafka is up, Ctrl-C stops it.\nKAFKA_BROKERS=${server.brokers}`)
await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
await server.stop()
