import type { Logger } from 'pino'
import { BehaviorSubject, Subject } from 'rxjs'
import type { RxMikaError } from '../errors.js'
import type { ClientEvent, ClientState } from '../events.js'
import type { TopicNames } from './topic-names.js'

/** What a client tells the outside: errors, events, its state, and the log lines of each. */
export class Reports {
  readonly errors = new Subject<RxMikaError>()
  readonly events = new Subject<ClientEvent>()
  readonly state = new BehaviorSubject<ClientState>('idle')

  constructor(
    readonly logger: Logger,
    readonly names: TopicNames,
  ) {}

  error(error: RxMikaError): void {
    this.logger.error({ err: error }, error.message)
    this.errors.next(this.names.inError(error))
  }

  /** Nobody may be listening, and most events are per record: making one is left to the caller's `observed` check. */
  get observed(): boolean {
    return this.events.observed
  }

  event(event: ClientEvent): void {
    this.#log(event)
    this.events.next(event)
  }

  moveTo(state: ClientState, error?: RxMikaError): void {
    if (this.state.value === state) return
    this.state.next(state)
    this.event(error === undefined ? { type: 'state', state } : { type: 'state', state, error })
  }

  end(fatal: RxMikaError | undefined): void {
    if (fatal !== undefined) this.errors.next(fatal)
    this.errors.complete()
    this.events.complete()
    this.state.complete()
  }

  #log(event: ClientEvent): void {
    switch (event.type) {
      case 'state':
        return this.logger.info(`the client is ${event.state}`)
      case 'paused':
      case 'resumed':
        return this.logger.info({ topic: event.topic }, `topic ${event.type}`)
      case 'tripped':
        return // said as an error already
      case 'reconnected':
        return this.logger.info('connected to the brokers again')
      case 'disconnected':
        return this.logger.warn({ err: event.error }, 'the brokers cannot be reached; going on by itself when they can')
      case 'restarted':
        return this.logger.warn({ err: event.error }, 'the broker client had crashed and was made anew')
      case 'stalled':
        return this.logger.warn(
          { topic: event.topic, partition: event.partition, offset: String(event.offset), why: event.why },
          'a committed position is held back',
        )
      case 'lost':
      case 'leaked':
        return this.logger.warn(
          { topic: event.topic, partition: event.partition, offset: String(event.offset) },
          event.type === 'lost' ? 'a partition was lost' : 'the pipeline dropped a record unsettled',
        )
      default:
        if (this.logger.isLevelEnabled('debug')) {
          this.logger.debug(
            { topic: event.topic, partition: event.partition, offset: String(event.offset) },
            event.type,
          )
        }
    }
  }
}
