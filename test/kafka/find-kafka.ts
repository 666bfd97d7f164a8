import { answers } from './answers'
import { startDockerKafka } from './docker-kafka'
import { startKafka } from './kafka-server'
import { Unavailable } from './run'

export interface FoundKafka {
  brokers: string[]
  stop(): Promise<void>
}

export const THREE_WAYS = `A Kafka for the tests comes from the first of:
  1. KAFKA_BROKERS=host:port,host:port, a plain text cluster that runs already
  2. Docker, with the image apache/kafka
  3. Java 17 or newer with Maven, on Linux or macOS: Apache Kafka from its jars`

/** Thrown if none of the three ways to get a Kafka works. The message has the reason for each. */
export class NoKafka extends Error {
  override name = 'NoKafka'

  constructor(reasons: string[]) {
    super(`${THREE_WAYS}\nHere there is none of them: ${reasons.join('; ')}.`)
  }
}

/**
 * The Kafka that KAFKA_BROKERS names, or else one started in Docker, or else one started from its jars.
 *
 * If a way is available on this machine but fails, this rejects with its error, so that a broken setup is not treated as a
 * missing one.
 */
export const findKafka = async (): Promise<FoundKafka> => {
  const reasons: string[] = []
  for (const way of [namedKafka, startDockerKafka, () => startKafka({ longLived: true })]) {
    try {
      return await way()
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error
      reasons.push(error.message)
    }
  }
  throw new NoKafka(reasons)
}

const namedKafka = async (): Promise<FoundKafka> => {
  const brokers = process.env.KAFKA_BROKERS?.split(',').map(broker => broker.trim())
  if (!brokers?.[0]) throw new Unavailable('KAFKA_BROKERS is not set')
  await answers({ brokers }, { within: 15_000 })
  return { brokers, stop: async () => {} }
}
