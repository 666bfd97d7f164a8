import { describe, inject } from 'vitest'

declare module 'vitest' {
  export interface ProvidedContext {
    /** The Kafka that all suites share. Undefined if there is none. */
    kafka: { brokers: string[] } | undefined
    /** Whether suites can start servers of their own. */
    canStartKafka: boolean
  }
}

/** `host:port` of the Kafka that all suites share. Topics and groups need unique names. Empty if there is no Kafka. */
export const kafkaBrokers: string[] = inject('kafka')?.brokers ?? []

/** A suite on the shared Kafka. Skipped if there is none. */
export const describeKafka = describe.skipIf(!inject('kafka'))

/** A suite that starts its own Kafka servers by `startKafka`. Skipped without Java. */
export const describeOwnKafka = describe.skipIf(!inject('canStartKafka'))
