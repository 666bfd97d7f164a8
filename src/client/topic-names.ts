import { FetchError, isRxMikaError, PublishError, type RxMikaError } from '../errors.js'

/** Topics as users name them, and as they are called in Kafka, by the client's suffix. */
export class TopicNames {
  constructor(readonly suffix: string) {}

  full(name: string): string {
    return name + this.suffix
  }

  user(fullName: string): string {
    return this.suffix === '' || !fullName.endsWith(this.suffix) ? fullName : fullName.slice(0, -this.suffix.length)
  }

  /** Whether it is a topic of this client's, by the suffix. */
  hasSuffix(fullName: string): boolean {
    return fullName.endsWith(this.suffix) && fullName.length > this.suffix.length
  }

  /** For messages: by its own name, and Kafka's where that is another. */
  shown(fullName: string): string {
    const name = this.user(fullName)
    return name === fullName ? `'${name}'` : `'${name}' ('${fullName}' in Kafka)`
  }

  /** The same error for users, where it names a topic: a driver knows topics by their full names only. */
  inError(error: RxMikaError): RxMikaError {
    if (this.suffix === '') return error
    if (isRxMikaError(error, 'RXMIKA_FETCH') && error.topic !== undefined) {
      const { message, cause, topic, partition, offset } = error
      return new FetchError(message, { cause, topic: this.user(topic), partition, offset })
    }
    if (isRxMikaError(error, 'RXMIKA_PUBLISH') && error.topic !== undefined) {
      const { message, cause, retriable, topic } = error
      return new PublishError(message, { cause, retriable, topic: this.user(topic) })
    }
    return error
  }
}
