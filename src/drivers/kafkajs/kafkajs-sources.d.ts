declare module 'kafkajs/src/consumer/batch.js' {
  import type { KafkaMessage } from 'kafkajs'

  /** Leaves out control records, those of aborted transactions, and those before the fetched offset. */
  export default class Batch {
    constructor(topic: string, fetchedOffset: string, partition: object)
    readonly messages: KafkaMessage[]
    isEmptyIncludingFiltered(): boolean
    lastOffset(): string
  }
}
