import { concat, concatAll, defer, EMPTY, from, ignoreElements, Observable, Subject, type Subscriber } from 'rxjs'
import { type Clock, systemClock } from '../../clock.js'
import type { CommitPoint } from '../../commit-point.js'
import type {
  ConnectionEvent,
  ConsumeRequest,
  Driver,
  DriverContext,
  DriverEvent,
  Moved,
  PartitionAssignment,
  ReadEvent,
  ReadRequest,
  Seek,
} from '../../driver.js'
import { CommitError, ConfigurationError, ConnectionError, PublishError, type RxMikaError } from '../../errors.js'
import type { Outgoing } from '../../outgoing.js'
import { refused } from '../../produce-result.js'
import type { Codecs } from '../../protocol/records/codecs.js'
import type { RecordBatch } from '../../record-batch.js'
import type { SaslOptions } from '../../sasl.js'
import { pause } from './backoff.js'
import { Cluster } from './cluster/cluster.js'
import { Coordinator } from './cluster/coordinator.js'
import { Consumption } from './consumption.js'
import { refusedConnection } from './fatal-error.js'
import { readAt } from './fetching/single-read.js'
import { Outage } from './outage.js'
import { latest, offsetsAt } from './positions/list-offsets.js'
import { identityLength } from './positions/log-identity.js'
import { Reachability } from './reachability.js'
import { BoundedRead } from './reading/bounded-read.js'
import { TopicWatch } from './topic-watch.js'
import { existingTopics } from './topics.js'
import { parseAddress, shownAddress } from './transport/address.js'
import { RefusedConnectionError, UnansweredError } from './transport/failures.js'
import type { Ssl } from './transport/socket.js'
import { Transport } from './transport/transport.js'
import { ClusterLeaders } from './writing/cluster-leaders.js'
import { Writing } from './writing/writing.js'

export interface KafkaOptions {
  /** `host:port` or `[IPv6]:port`. */
  readonly brokers: readonly string[]
  readonly ssl?: Ssl
  readonly sasl?: SaslOptions
  readonly codecs?: Codecs
  /** Added partitions and topics are noticed within this time, ms; default 30,000. */
  readonly metadataMaxAge?: number
}

const defaultMetadataMaxAge = 30_000
const connectAgain = 300
/** If outages must be noticed in any case: a request is sent after no broker has answered for this time, ms. */
const askAfter = 2_500
/** The default of Kafka's `offset.metadata.max.bytes`. What is written there is ASCII. */
const brokersMetadataLimit = 4_096
/** After this many connections in a row that were closed at the first request, retrying is given up. That takes some 3 s. */
const maxCuts = 7

/** The connection of one client to Kafka brokers. */
export class KafkaDriver implements Driver {
  readonly #clock: Clock = systemClock
  #transport: Transport | undefined
  #cluster: Cluster | undefined
  #reachability: Reachability | undefined
  #outage: Outage | undefined
  readonly #trouble = new Subject<RxMikaError>()
  #context: DriverContext | undefined
  #writing: Writing | undefined
  #consumption: Consumption | undefined
  /**
   * The last consumption leaves its group. `close` waits for it too when an error has ended the consumption: without its
   * request, the group would keep this member, and give its partitions to nobody, until its session ends.
   */
  #leaving: Promise<void> | undefined
  readonly #reads = new Set<BoundedRead>()
  #readCount = 0
  /** Gets the outages: the subscriber of `connect`, then that of `consume`. While there is none, `connection` emits them. */
  #listener: Subscriber<ConnectionEvent> | Subscriber<DriverEvent> | undefined
  readonly #connection = new Subject<ConnectionEvent>()
  #closed = false
  #answeredAt = Number.NEGATIVE_INFINITY
  #asking: NodeJS.Timeout | undefined

  constructor(readonly options: KafkaOptions) {}

  get trouble(): Observable<RxMikaError> {
    return this.#trouble.asObservable()
  }

  get connection(): Observable<ConnectionEvent> {
    return this.#connection.asObservable()
  }

  #emitConnection(event: ConnectionEvent): void {
    const listener = this.#listener
    if (listener === undefined || listener.closed) this.#connection.next(event)
    else listener.next(event)
  }

  get lastFailure(): RxMikaError | undefined {
    return this.#reachability?.lastFailure
  }

  keepAsking(): void {
    if (this.#asking !== undefined || this.#closed) return
    let underWay = false
    this.#asking = setInterval(() => {
      const cluster = this.#cluster
      if (underWay || cluster === undefined || this.#clock.monotonic() - this.#answeredAt < askAfter) return
      underWay = true
      const over = () => {
        underWay = false
      }
      // If it is not answered, the transport reports that, as for any other request.
      cluster.learn([]).then(over, over)
    }, askAfter)
    this.#asking.unref()
  }

  connect(context: DriverContext): Observable<ConnectionEvent> {
    return new Observable(subscriber => {
      this.#listener = subscriber
      this.#connect(context).then(
        () => subscriber.complete(),
        error => subscriber.error(error),
      )
    })
  }

  async #connect(context: DriverContext): Promise<void> {
    if (this.#closed) throw closed()
    this.#context ??= context
    const cluster = this.#open(context)
    for (let cuts = 0; !this.#closed; ) {
      try {
        await cluster.learn([])
        return
      } catch (error) {
        if (error instanceof RefusedConnectionError) throw refusedConnection(error)
        cuts = error instanceof UnansweredError && error.closedByPeer ? cuts + 1 : 0
        if (cuts === maxCuts) throw turnedAway(error as Error)
        await pause(connectAgain, cluster.ended)
      }
    }
    throw closed()
  }

  #open({ clientId, logger }: DriverContext): Cluster {
    if (this.#cluster !== undefined) return this.#cluster
    const { brokers, ssl, sasl, metadataMaxAge = defaultMetadataMaxAge } = this.options
    const clock = this.#clock
    const bootstrap = brokers.map(parseAddress)
    const names = new Set(bootstrap.map(shownAddress))
    const outage = new Outage(
      error => this.#emitConnection({ type: 'disconnected', error }),
      () => this.#emitConnection({ type: 'reconnected' }),
      () => transport.connected,
    )
    const reachability = new Reachability(
      clock,
      error => this.#trouble.next(error),
      address => names.has(shownAddress(address)),
    )
    const transport = new Transport(
      { clientId, clock, logger, ...(ssl !== undefined && { ssl }), ...(sasl !== undefined && { sasl }) },
      {
        connecting: address => reachability.begins(address),
        connected: address => reachability.tried(address),
        abandoned: address => reachability.tried(address),
        answered: address => {
          this.#answeredAt = clock.monotonic()
          reachability.answers(address)
          outage.answered()
        },
        silent: (address, error) => {
          this.#writing?.unreachable(error.message, error)
          reachability.silent(address, error)
          outage.failed(error)
        },
        failed: (address, error, wasConnecting) => {
          this.#writing?.unreachable(error.message, error)
          reachability.fails(address, error, wasConnecting)
          outage.failed(error)
        },
      },
    )
    this.#outage = outage
    this.#reachability = reachability
    this.#transport = transport
    const cluster = new Cluster(transport, bootstrap, clock, metadataMaxAge)
    this.#cluster = cluster
    this.#writing = new Writing(new ClusterLeaders(cluster), {
      scheduler: clock.scheduler,
      monotonic: clock.monotonic,
      wall: clock.wall,
      soon: work => void setImmediate(work),
    })
    return cluster
  }

  willJoin(group: string): void {
    if (this.#cluster !== undefined && !this.#closed) new Coordinator(this.#cluster, group).approach('group')
  }

  topics(names: readonly string[]): Observable<ReadonlyMap<string, number>> {
    return promised(async cancelled => {
      const cluster = this.#connected()
      return existingTopics(cluster, names, this.#clock, cancelled)
    })
  }

  topicNames(names?: readonly string[]): Observable<readonly string[]> {
    return new Observable(subscriber => {
      if (this.#cluster === undefined || this.#closed) subscriber.error(this.#closed ? closed() : notConnected())
      else new TopicWatch(this.#cluster, this.#clock, names, subscriber)
    })
  }

  endOffsets(topic: string): Observable<ReadonlyMap<number, number>> {
    return promised(async () => {
      const cluster = this.#connected()
      const stop = cluster.watch([topic])
      try {
        const known = (await cluster.learn([topic])).get(topic)
        if (known === undefined || known.partitions.length === 0) {
          throw new ConfigurationError(`topic '${topic}' does not exist`)
        }
        const partitions = known.partitions.map((_, partition) => ({ topic, partition }))
        const ends = await offsetsAt(cluster, partitions, latest)
        return new Map(partitions.map(place => [place.partition, ends.get(place)!.offset]))
      } catch (cause) {
        if (cause instanceof ConfigurationError) throw cause
        throw new ConnectionError(`the end of topic '${topic}' is not known: ${(cause as Error).message}`, { cause })
      } finally {
        stop()
      }
    })
  }

  readAt(assignment: PartitionAssignment, offset: number): Observable<RecordBatch> {
    return promised(() => readAt(this.#connected(), assignment, offset, this.options.codecs)).pipe(concatAll())
  }

  read(request: ReadRequest): Observable<ReadEvent> {
    return new Observable(subscriber => {
      if (this.#cluster === undefined || this.#closed) {
        subscriber.error(this.#closed ? closed() : notConnected())
        return
      }
      const lane = `read ${++this.#readCount}` as const
      const host = { cluster: this.#cluster, clock: this.#clock, codecs: this.options.codecs, lane }
      const read = new BoundedRead(host, request, subscriber)
      this.#reads.add(read)
      subscriber.add(() => {
        this.#reads.delete(read)
        read.end()
      })
      read.start()
    })
  }

  consume(request: ConsumeRequest): Observable<DriverEvent> {
    return new Observable(subscriber => {
      if (this.#cluster === undefined || this.#context === undefined || this.#closed) {
        subscriber.error(this.#closed ? closed() : notConnected())
        return
      }
      if (this.#consumption !== undefined) {
        subscriber.error(new ConfigurationError('this driver consumes already; leave() first'))
        return
      }
      this.#listener = subscriber
      if (request.metadataMaxAge !== undefined) this.#cluster.maxAge = request.metadataMaxAge
      const host = {
        cluster: this.#cluster,
        clock: this.#clock,
        codecs: this.options.codecs,
        logger: this.#context.logger,
      }
      const consumption = new Consumption(host, request, subscriber)
      this.#consumption = consumption
      consumption.start()
      return () => {
        consumption.abandon()
        this.#leaving = consumption.left()
        if (this.#consumption === consumption) this.#consumption = undefined
      }
    })
  }

  get doubtful(): boolean {
    return this.#consumption?.doubtful === true
  }

  subscribe(topics: readonly string[]): void {
    this.#consumption?.subscribe(topics)
  }

  pause(assignments: readonly PartitionAssignment[]): void {
    this.#consumption?.pause(assignments)
  }

  resume(assignments: readonly PartitionAssignment[]): void {
    this.#consumption?.resume(assignments)
  }

  get maxCommitMetadata(): number {
    return brokersMetadataLimit - identityLength
  }

  seek(moves: readonly Seek[]): Observable<readonly Moved[]> {
    return new Observable(subscriber => {
      if (this.#consumption === undefined) subscriber.complete()
      else this.#consumption.seek(moves, subscriber)
    })
  }

  commit(points: readonly CommitPoint[]): Observable<never> {
    return promised(async () => {
      if (points.every(point => point.assignment?.ended === true)) return
      if (this.#closed) throw new CommitError('the driver is closed', { retriable: false })
      if (this.#consumption === undefined) throw new CommitError('the group is not joined', { retriable: true })
      await this.#consumption.commit(points)
    }).pipe(ignoreElements())
  }

  produce(outgoing: Outgoing): void {
    if (this.#writing !== undefined && !this.#closed) return this.#writing.write(outgoing)
    const why = this.#closed ? 'the driver is closed' : 'the driver is not connected'
    outgoing.settle(refused(new PublishError(why, { retriable: !this.#closed, topic: outgoing.topic })))
  }

  leave(): Observable<never> {
    return promised(async () => {
      const leaving = this.#leaving
      this.#leaving = undefined
      await this.#consumption?.leave()
      await leaving
    }).pipe(ignoreElements())
  }

  close(): Observable<never> {
    const end = defer(() => {
      this.#closed = true
      for (const read of [...this.#reads]) read.fail(closed())
      clearInterval(this.#asking)
      this.#writing?.end('the driver is closed')
      this.#reachability?.end()
      this.#outage?.stop()
      this.#cluster?.end()
      this.#transport?.close()
      return EMPTY
    })
    return concat(this.leave(), end)
  }

  #connected(): Cluster {
    if (this.#closed) throw closed()
    if (this.#cluster === undefined) throw notConnected()
    return this.#cluster
  }
}

/** Calls `ask` on subscription. Its result is ignored after the unsubscription. */
function promised<T>(ask: (cancelled: () => boolean) => Promise<T>): Observable<T> {
  return new Observable(subscriber => from(defer(() => ask(() => subscriber.closed))).subscribe(subscriber))
}

function turnedAway(cause: Error): ConnectionError {
  return new ConnectionError(
    'the brokers refuse this client: they accepted a connection and closed it at the first request ' +
      `${maxCuts} times in a row; if they require a login, set sasl (or KAFKA_SASL_MECHANISM): ${cause.message}`,
    { cause },
  )
}

function closed(): ConnectionError {
  return new ConnectionError('the driver is closed')
}

function notConnected(): ConnectionError {
  return new ConnectionError('the driver is not connected; connect() first')
}
