import type { Attributes, Meter } from '@opentelemetry/api'
import type {
  ClientMessage,
  CommitMessage,
  ProcessMessage,
  PublishMessage,
  RebalanceMessage,
  ReceiveMessage,
  SettleMessage,
} from '../channels.js'
import { systemClock } from '../clock.js'
import { errorType, metricAttributes, type OperationType } from './attributes.js'
import type { Listener } from './listening.js'

/** The buckets that the conventions recommend, s. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/** The metrics of the semantic conventions for messaging: what was sent and consumed, and how long it took. */
export class OperationMetrics {
  readonly #sent
  readonly #consumed
  readonly #operation
  readonly #process
  readonly #rebalance
  readonly #began = new WeakMap<object, number>()

  constructor(meter: Meter) {
    const duration = { unit: 's', advice: { explicitBucketBoundaries: buckets } }
    this.#sent = meter.createCounter('messaging.client.sent.messages', {
      unit: '{message}',
      description: 'Number of messages producer attempted to send to the broker.',
    })
    this.#consumed = meter.createCounter('messaging.client.consumed.messages', {
      unit: '{message}',
      description: 'Number of messages that were delivered to the application.',
    })
    this.#operation = meter.createHistogram('messaging.client.operation.duration', {
      ...duration,
      description: 'Duration of messaging operation initiated by a producer or consumer client.',
    })
    this.#process = meter.createHistogram('messaging.process.duration', {
      ...duration,
      description: 'Duration of processing operation.',
    })
    this.#rebalance = meter.createHistogram('rxmika.rebalance.duration', {
      ...duration,
      description: 'From the first partition that may be revoked until this member has its new assignment.',
    })
  }

  readonly receive: Listener<ReceiveMessage> = {
    start: message => {
      this.#begin(message)
      this.#consumed.add(1, {
        ...metricAttributes(message, 'receive', message.record.source.topic),
        'messaging.destination.partition.id': String(message.record.source.partition),
      })
    },
    end: message => this.#observe(message, 'receive', message.record.source.topic, undefined),
  }

  readonly process: Listener<ProcessMessage> = {
    start: message => this.#begin(message),
    asyncEnd: message => {
      if (message.cancelled === true) return
      const topics = new Set(message.records.map(({ source }) => source.topic))
      const topic = topics.size === 1 ? message.record.source.topic : undefined
      this.#process.record(this.#elapsed(message), {
        ...metricAttributes(message, 'process', topic),
        ...errorAttribute(message.error),
      })
    },
  }

  readonly settle: Listener<SettleMessage> = {
    start: message => this.#begin(message),
    end: message => this.#observe(message, 'settle', message.record.source.topic, undefined),
  }

  readonly publish: Listener<PublishMessage> = {
    start: message => this.#begin(message),
    asyncEnd: message => {
      if (message.cancelled === true) return
      const counts = new Map(message.topics.map(topic => [topic, 0]))
      for (const { topic } of message.records) counts.set(topic, counts.get(topic)! + 1)
      if (message.copyOf !== undefined) counts.set(message.topics[0]!, 1)
      for (const [topic, count] of counts) {
        this.#sent.add(count, { ...metricAttributes(message, 'send', topic), ...errorAttribute(message.error) })
      }
      this.#observe(message, 'send', message.topics.length === 1 ? message.topics[0] : undefined, message.error)
    },
  }

  /** One commit settles many records. */
  readonly commit: Listener<CommitMessage> = {
    start: message => this.#begin(message),
    asyncEnd: message => {
      if (message.cancelled === true) return
      this.#observe(message, 'settle', undefined, message.error, { 'messaging.operation.name': 'commit' })
    },
  }

  readonly rebalance: Listener<RebalanceMessage> = {
    start: message => this.#begin(message),
    asyncEnd: message => {
      const { group } = message
      if (message.cancelled === true) return
      this.#rebalance.record(this.#elapsed(message), {
        'messaging.system': 'kafka',
        ...(group !== undefined && { 'messaging.consumer.group.name': group }),
      })
    },
  }

  #begin(message: object): void {
    this.#began.set(message, systemClock.monotonic())
  }

  /** Seconds since the operation began. */
  #elapsed(message: object): number {
    return (systemClock.monotonic() - (this.#began.get(message) ?? systemClock.monotonic())) / 1000
  }

  #observe(
    message: ClientMessage,
    type: OperationType,
    topic: string | undefined,
    error: unknown,
    more: Attributes = {},
  ): void {
    this.#operation.record(this.#elapsed(message), {
      ...metricAttributes(message, type, topic),
      ...errorAttribute(error),
      ...more,
    })
  }
}

function errorAttribute(error: unknown): Attributes {
  return error === undefined ? {} : { 'error.type': errorType(error) }
}
