import { describe, inject } from 'vitest'

declare module 'vitest' {
  export interface ProvidedContext {
    /** The Kafka all suites share; undefined when there is none. */
    kafka: { brokers: string[] } | undefined
    /** Whether suites can start servers of their own. */
    canStartKafka: boolean
  }
}

/** `host:port` of the Kafka all suites share; topics and groups need names of their own. Empty when there is none. */
export const kafkaBrokers: string[] = inject('kafka')?.brokers ?? []

/** A suite on the shared Kafka, skipped when there is none. */
export const describeKafka = describe.skipIf(!inject('kafka'))

/** A suite that starts Kafka servers of its own by `startKafka`, skipped without Java. */
export const describeOwnKafka = describe.skipIf(!inject('canStartKafka'))
