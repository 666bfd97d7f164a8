import { concat, concatAll, defer, from, ignoreElements, Observable, Subject } from 'rxjs'
import type { CommitPoint } from '../../commit-point.js'
import type {
  ConnectionEvent,
  ConsumeRequest,
  Driver,
  DriverContext,
  DriverEvent,
  PartitionAssignment,
} from '../../driver.js'
import {
  CommitError,
  ConfigurationError,
  ConnectionError,
  isRxMikaError,
  PublishError,
  type RxMikaError,
} from '../../errors.js'
import type { Outgoing } from '../../outgoing.js'
import { refused } from '../../produce-result.js'
import type { RecordBatch } from '../../record-batch.js'
import { type Brokers, type KafkajsOptions, openBrokers } from './connection.js'
import { Consumption } from './consumption.js'
import { Producer } from './producer.js'
import { errorType, isRefusal, messageWithBroker } from './protocol-error.js'
import { Reachability } from './reachability.js'
import { Topics } from './topics.js'

/** One client's connection to real brokers, by way of kafkajs. */
export class KafkajsDriver implements Driver {
  #brokers: Brokers | undefined
  #context: DriverContext | undefined
  #topics: Topics | undefined
  #producer: Producer | undefined
  #consumption: Consumption | undefined
  #closed = false
  readonly #trouble = new Subject<RxMikaError>()
  /** Shared by all clusters of this driver, so that a broker is reported once, whoever looks for it. */
  readonly #reachability = new Reachability(error => this.#trouble.next(error))

  constructor(readonly options: KafkajsOptions) {}

  get trouble(): Observable<RxMikaError> {
    return this.#trouble.asObservable()
  }

  get lastFailure(): RxMikaError | undefined {
    return this.#reachability.lastFailure
  }

  connect(context: DriverContext): Observable<ConnectionEvent> {
    return new Observable(subscriber => {
      this.#connect(context, event => subscriber.next(event)).then(
        () => subscriber.complete(),
        error => subscriber.error(connectionError(error)),
      )
    })
  }

  async #connect(context: DriverContext, tell: (event: ConnectionEvent) => void): Promise<void> {
    if (this.#closed) throw closed()
    this.#context ??= context
    this.#brokers ??= openBrokers(this.options, context)
    this.#topics ??= new Topics(this.#brokers.kafka, context.logger, this.#reachability)
    await this.#topics.connect(tell)
  }

  topics(names: readonly string[]): Observable<ReadonlyMap<string, number>> {
    return this.#promised(cancelled => this.#connectedTopics().partitionCounts(names, cancelled))
  }

  endOffsets(topic: string): Observable<ReadonlyMap<number, number>> {
    return this.#promised(() => this.#connectedTopics().endOffsets(topic))
  }

  readAt(assignment: PartitionAssignment, offset: number): Observable<RecordBatch> {
    return this.#promised(() => this.#connectedTopics().readAt(assignment, offset, this.options)).pipe(concatAll())
  }

  consume(request: ConsumeRequest): Observable<DriverEvent> {
    return new Observable(subscriber => {
      if (this.#brokers === undefined || this.#context === undefined || this.#closed) {
        subscriber.error(this.#closed ? closed() : notConnected())
        return
      }
      if (this.#consumption !== undefined) {
        subscriber.error(new ConfigurationError('this driver consumes already; leave() first'))
        return
      }
      const { kafka } = this.#brokers
      const reachability = this.#reachability
      const consumption = new Consumption(kafka, this.options, request, this.#context, reachability, subscriber)
      this.#consumption = consumption
      return () => {
        consumption.abandon()
        if (this.#consumption === consumption) this.#consumption = undefined
      }
    })
  }

  get doubtful(): boolean {
    return this.#consumption?.doubtful === true
  }

  pause(assignments: readonly PartitionAssignment[]): void {
    this.#consumption?.pause(assignments)
  }

  resume(assignments: readonly PartitionAssignment[]): void {
    this.#consumption?.resume(assignments)
  }

  commit(points: readonly CommitPoint[]): Observable<never> {
    return this.#promised(async () => {
      if (points.every(point => point.assignment?.ended === true)) return
      if (this.#closed) throw new CommitError('the driver is closed', { retriable: false })
      if (this.#consumption === undefined) throw new CommitError('the group is not joined', { retriable: true })
      await this.#consumption.commit(points)
    }).pipe(ignoreElements())
  }

  produce(outgoing: Outgoing): void {
    if (this.#brokers === undefined || this.#closed) {
      const why = this.#closed ? 'the driver is closed' : 'the driver is not connected'
      const { topic } = outgoing
      return outgoing.settle(refused(new PublishError(why, { retriable: !this.#closed, topic })))
    }
    this.#producer ??= new Producer(this.#brokers.kafka, this.#reachability)
    this.#producer.produce(outgoing)
  }

  leave(): Observable<never> {
    return this.#promised(async () => {
      await this.#consumption?.leave()
    }).pipe(ignoreElements())
  }

  close(): Observable<never> {
    const end = this.#promised(async () => {
      this.#closed = true
      await Promise.all([this.#producer?.end(), this.#topics?.end()])
      this.#brokers?.destroy()
      this.#reachability.end()
    }).pipe(ignoreElements())
    return concat(this.leave(), end)
  }

  #connectedTopics(): Topics {
    if (this.#closed) throw closed()
    if (this.#topics === undefined) throw notConnected()
    return this.#topics
  }

  /** A promise, asked for on subscription; what becomes of it after the unsubscription concerns nobody. */
  #promised<T>(ask: (cancelled: () => boolean) => Promise<T>): Observable<T> {
    return new Observable(subscriber => from(defer(() => ask(() => subscriber.closed))).subscribe(subscriber))
  }
}

function closed(): ConnectionError {
  return new ConnectionError('the driver is closed')
}

function notConnected(): ConnectionError {
  return new ConnectionError('the driver is not connected; connect() first')
}

function connectionError(error: unknown): Error {
  if (isRxMikaError(error, 'RXMIKA_CONNECTION') || isRxMikaError(error, 'RXMIKA_CONFIGURATION')) return error
  // The answer of a listener without a login to whoever wants to log in; and to a token that it has not taken.
  const login = errorType(error) === 'ILLEGAL_SASL_STATE'
  const why = login || isRefusal(error) ? 'the brokers refuse us' : 'the brokers cannot be reached'
  const hint = login ? ' (the listener takes no login, or has not taken this one: see sasl)' : ''
  return new ConnectionError(`${why}: ${messageWithBroker(error)}${hint}`, { cause: error })
}
