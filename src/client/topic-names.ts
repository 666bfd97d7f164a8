import { FetchError, isRxMikaError, PublishError, type RxMikaError } from '../errors.js'

/** Translates between topic names of users and of Kafka, which have the client's suffix. */
export class TopicNames {
  constructor(readonly suffix: string) {}

  full(name: string): string {
    return name + this.suffix
  }

  user(fullName: string): string {
    return this.suffix === '' || !fullName.endsWith(this.suffix) ? fullName : fullName.slice(0, -this.suffix.length)
  }

  /** Whether the topic has the client's suffix. */
  hasSuffix(fullName: string): boolean {
    return fullName.endsWith(this.suffix) && fullName.length > this.suffix.length
  }

  /** A topic in messages: as the user names it, with its name in Kafka if that differs. */
  shown(fullName: string): string {
    const name = this.user(fullName)
    return name === fullName ? `'${name}'` : `'${name}' ('${fullName}' in Kafka)`
  }

  /** The error with the topic as users name it. A driver knows only full names. */
  inError(error: RxMikaError): RxMikaError {
    if (this.suffix === '') return error
    if (isRxMikaError(error, 'RXMIKA_FETCH') && error.topic !== undefined) {
      const { message, cause, topic, partition, offset } = error
      return new FetchError(message, { cause, topic: this.user(topic), partition, offset })
    }
    if (isRxMikaError(error, 'RXMIKA_PUBLISH') && error.topic !== undefined) {
      const { message, cause, retriable, topic, reason } = error
      return new PublishError(message, { cause, retriable, topic: this.user(topic), reason })
    }
    return error
  }
}
