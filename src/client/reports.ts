import type { Logger } from 'pino'
import { Observable, ReplaySubject, type SchedulerLike, Subject } from 'rxjs'
import type { PartitionPlace } from '../channels.js'
import type { RxMikaError } from '../errors.js'
import type { ClientEvent, ClientState, StallReason } from '../events.js'
import { firstTen, partitionName, placeName, placeNameOf } from '../place.js'
import { Readable } from '../readable.js'
import type { DeliveredRecord } from '../record.js'
import { recordPlace } from '../record-place.js'
import { messageOf, nameOf, shortened } from '../retry/reason.js'
import type { CloseReport, LeakAction } from './client.js'
import { shielded } from './ending.js'
import { Tallies, type Tally } from './tallies.js'
import type { TopicNames } from './topic-names.js'

/** The maximum number of errors kept for the first subscriber; the oldest are dropped. */
const maxErrorsKept = 100

type EventOf<T extends ClientEvent['type']> = Extract<ClientEvent, { readonly type: T }>
/** Events that may happen to every record. The log counts them. */
type Counted = EventOf<'dead-lettered' | 'leaked' | 'skipped' | 'outrun'>

/** An event as subscribers get it. Printable in a log. */
class EventObject extends Readable {}

/** The errors, events and state of a client, and their log lines. */
export class Reports {
  readonly events = new Subject<ClientEvent>()
  /** Replays the current state, also after the client is closed. */
  readonly state = new ReplaySubject<ClientState>(1)
  #current: ClientState = 'idle'
  readonly #errors = new Subject<RxMikaError>()
  /** The same errors for tools such as the inspector, whose subscription does not count as the first one. */
  readonly onlookers = new Subject<RxMikaError>()
  /** Errors before the first subscription. Undefined after it. */
  #early: RxMikaError[] | undefined = []
  readonly #tallies: Tallies<Counted, Summary>

  /**
   * Hot. Errors before the first subscription are kept for it, because a driver may fail before `start()` has returned this
   * Observable.
   */
  readonly errors = new Observable<RxMikaError>(subscriber => {
    while (this.#early !== undefined && !subscriber.closed) {
      const error = this.#early.shift()
      if (error === undefined) this.#early = undefined
      else subscriber.next(error)
    }
    return shielded(this.#errors).subscribe(subscriber)
  })

  /** Changes of the state that subscribers are told one after the other. */
  readonly #turns: (() => void)[] = []

  constructor(
    readonly logger: Logger,
    readonly names: TopicNames,
    scheduler: SchedulerLike,
    /** What happens to leaked records; named in the log. */
    readonly leaks: LeakAction = 'report',
  ) {
    this.state.next(this.#current)
    this.#tallies = new Tallies(scheduler, summaryOf, tally => this.#logTally(tally))
  }

  get currentState(): ClientState {
    return this.#current
  }

  error(error: RxMikaError): void {
    this.logger.error({ err: error }, error.message)
    this.#emit(this.names.inError(error))
  }

  #emit(error: RxMikaError): void {
    this.onlookers.next(error)
    if (this.#early === undefined) return this.#errors.next(error)
    this.#early.push(error)
    if (this.#early.length > maxErrorsKept) this.#early.shift()
  }

  /** Whether `events` has subscribers. Most events are per record, so callers check this before they make one. */
  get observed(): boolean {
    return this.events.observed
  }

  event(event: ClientEvent): void {
    this.#log(event)
    if (this.events.observed) this.events.next(Object.assign(new EventObject(), event) as unknown as ClientEvent)
  }

  /** A record of another group was skipped. On a shared topic that may be most of them. */
  skipped(record: DeliveredRecord): void {
    if (this.observed || this.logger.isLevelEnabled('info')) this.event({ type: 'skipped', ...recordPlace(record) })
  }

  /** If it is called within a subscriber of an earlier state, the others are told of that one first. */
  moveTo(state: ClientState, error?: RxMikaError): void {
    if (this.#current === state) return
    this.#current = state
    this.#inTurn(() => {
      this.state.next(state)
      this.event(error === undefined ? { type: 'state', state } : { type: 'state', state, error })
    })
  }

  #inTurn(turn: () => void): void {
    this.#turns.push(turn)
    if (this.#turns.length === 1) this.#takeTurns()
  }

  #takeTurns(): void {
    const [turn] = this.#turns
    if (turn === undefined) return
    try {
      turn()
    } finally {
      // Also if it throws, as a logger may: otherwise all later ones would wait for ever.
      this.#turns.shift()
      this.#takeTurns()
    }
  }

  /** Logs what was not completed when the client closed. */
  leftBehind({ unsettled, left }: CloseReport): void {
    if (left.length === 0) return
    const places = firstTen(left, stall => `${placeName(stall)} ${stall.why}`)
    const what = unsettled === 0 ? 'before a commit was confirmed' : `before ${recordCount(unsettled)} completed`
    this.logger.warn({ unsettled }, `closed ${what}; the first of each partition: ${places}`)
  }

  /** Logs that partitions were revoked or lost. */
  ended(places: readonly PartitionPlace[], why: 'revoked' | 'lost'): void {
    const fields = { partitions: places.length }
    if (why === 'revoked') return this.logger.info(fields, 'partitions are revoked')
    this.logger.warn(fields, `partitions are lost: ${firstTen(places, partitionName)}`)
  }

  /** Logs the counts that are not logged yet. */
  endTallies(): void {
    this.#tallies.end()
  }

  end(fatal: RxMikaError | undefined): void {
    this.#inTurn(() => {
      if (fatal !== undefined) this.#emit(fatal)
      this.#errors.complete()
      this.onlookers.complete()
      this.events.complete()
      this.state.complete()
    })
  }

  #log(event: ClientEvent): void {
    switch (event.type) {
      case 'state':
        return this.logger.info(`the client is ${event.state}`)
      case 'paused':
      case 'resumed':
        return this.logger.info({ topic: event.topic }, `topic ${event.type}`)
      case 'tripped':
        return // Already logged as an error.
      case 'reconnected':
        return this.logger.info('connected to the brokers again')
      case 'disconnected':
        return this.logger.warn(
          { err: event.error },
          'the brokers cannot be reached; the client continues by itself when they can',
        )
      case 'restarted':
        return this.logger.warn({ err: event.error }, 'the broker client crashed and was restarted')
      case 'stalled':
        return this.logger.warn(
          { ...placeFields(event), why: event.why },
          `the committed position is held back at ${placeNameOf(event)}: ${event.why} (${waitsFor[event.why]}); see stalls()`,
        )
      case 'unstalled':
        return this.logger.info(
          placeFields(event),
          `${placeNameOf(event)} no longer holds back the committed position: it is completed, or its partition is not read here now`,
        )
      case 'moved':
        return this.logger.info(
          { ...placeFields(event), from: String(event.from) },
          `${placeName({ ...event, offset: event.from })} was moved: reading goes on at ${event.offset}`,
        )
      case 'dead-lettered':
        return this.#count(event, `${originOf(event).topic} ${shortened(nameOf(event.reason))}`)
      case 'outrun':
        return this.#count(event, `${originOf(event).topic} ${event.first}`)
      case 'leaked':
        return this.#count(event, originOf(event).topic)
      case 'skipped':
        return this.#count(event, event.topic)
      default:
        this.#debug(event)
    }
  }

  #count(event: Counted, name: string): void {
    this.#debug(event)
    if (this.logger.isLevelEnabled(levelOf(event))) this.#tallies.count({ family: event.type, name, of: event })
  }

  #debug(event: ClientEvent & { readonly topic: string; readonly partition: number; readonly offset: bigint }): void {
    if (this.logger.isLevelEnabled('debug')) this.logger.debug(placeFields(event), event.type)
  }

  #logTally({ first, count, mixed }: Tally<Summary>): void {
    const { type, topic, place, error, reason } = first
    const records = `${count} ${count === 1 ? 'record' : 'records'}${mixed ? '' : ` of topic '${topic}'`}`
    const at = `${count === 1 ? 'at' : 'the first at'} ${place}`
    const fields = { event: type, ...(mixed ? {} : { topic }), count, first: place }
    switch (type) {
      case 'dead-lettered':
        return this.logger.warn(
          mixed ? fields : { ...fields, errorName: error },
          `${records} dead-lettered, ${at}: ${error}: ${reason}. When the cause is gone, replayDlq() delivers dead letters again`,
        )
      case 'outrun':
        return this.logger.warn(
          fields,
          first.first === 'ack'
            ? `${records} failed after an ack, ${at}: ${reason}. The ack counts, so the failure is neither retried nor ` +
                `dead-lettered. ${oneSettles}`
            : `${records} acked after a failure, ${at}: ${reason}. The failure counts. ${oneSettles}`,
        )
      case 'leaked':
        return this.logger.warn(
          fields,
          `${records} dropped by the pipeline without ack() or fail(), ${at}; ${leakedThen[this.leaks]}. Operators such as ` +
            'filter, distinct, switchMap, exhaustMap, debounceTime, throttleTime, auditTime, take and share drop records: use keep() ' +
            'for filter, latest() for debounceTime, throttleTime and auditTime, handle() for switchMap and exhaustMap, fork() for ' +
            'share, or ack what you drop',
        )
      case 'skipped':
        return this.logger.info(
          fields,
          `${count} ${count === 1 ? 'record' : 'records'} of other groups on '${topic}' skipped, ${at}; nothing to do, ` +
            'unless this client should have the group that their headers name',
        )
    }
  }
}

/** What a log line says about its first record. */
interface Summary {
  readonly type: Counted['type']
  readonly topic: string
  readonly place: string
  readonly error: string
  readonly reason: string
  /** Only for `outrun`. */
  readonly first: 'ack' | 'fail' | undefined
}

function summaryOf(event: Counted): Summary {
  const origin = event.type === 'skipped' ? event : originOf(event)
  const reason = 'reason' in event ? event.reason : undefined
  return {
    type: event.type,
    topic: origin.topic,
    place: placeName(origin),
    error: shortened(nameOf(reason)),
    reason: shortened(messageOf(reason)),
    first: event.type === 'outrun' ? event.first : undefined,
  }
}

/** What a position that is held back waits for, and what ends that. */
const waitsFor: Readonly<Record<StallReason, string>> = {
  unsettled:
    'the record was neither acked nor failed: its handler has not ended, and a timeout of handle() would end it; or an operator ' +
    'dropped it, such as filter, switchMap or debounceTime, where keep() and latest() would not; or an operator waits for more than ' +
    'maxInFlight records, such as bufferCount',
  routing:
    'the record failed: its copy is not acknowledged, or a step of its route holds it, or an operator in onFail dropped it, such ' +
    'as filter',
  unroutable: 'no step of its route took the failed record; resume() tries the route again',
  'not-due': 'the record waits for its retry',
  'no-subscriber': 'the stream of its topic has no subscriber',
  paused: 'its topic is paused; resume() continues it',
  committing: 'the records are completed, and the commit is not confirmed',
}

function recordCount(count: number): string {
  return count === 1 ? '1 record was' : `${count} records were`
}

const leakedThen: Readonly<Record<LeakAction, string>> = {
  report: 'commits of the partition stop there',
  fail: 'it fails with a LeakedRecordError, down its route',
  redeliver: 'it is delivered again, at most three times, and then fails',
}

const oneSettles =
  'Settle each record in one place: use fork() in place of share(), so that the record waits for all branches'

function levelOf({ type }: Counted): 'info' | 'warn' {
  return type === 'skipped' ? 'info' : 'warn'
}

/** Where the record was first published, if that is known; otherwise where it was read. */
function originOf(event: Counted) {
  return event.origin ?? event
}

function placeFields({ topic, partition, offset }: { topic: string; partition: number; offset: bigint }) {
  return { topic, partition, offset: String(offset) }
}
