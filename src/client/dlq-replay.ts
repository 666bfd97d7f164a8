import { Observable, type Subscriber } from 'rxjs'
import { RxMikaError } from '../errors.js'
import type { Assignment } from './assignment.js'
import type { DlqReplayOptions, DlqReplayProgress } from './client.js'

interface Replay {
  readonly subscriber: Subscriber<DlqReplayProgress>
  readonly forever: boolean
  /** Per partition the end the DLQ topic had at subscription; undefined until the broker has told. */
  ends: ReadonlyMap<number, number> | undefined
  delivered: number
  skipped: number
}

/** What a replay asks of the client. */
export interface DlqReplayHost {
  /** The client's assignments of the DLQ topic; undefined before the first rebalance is over. */
  dlqAssignments(): readonly Assignment[] | undefined
  /** Emits the ends of the DLQ topic's partitions, once connected. */
  endOffsets(): Observable<ReadonlyMap<number, number>>
}

/**
 * Reads the DLQ topic while somebody is subscribed, and not otherwise.
 *
 * A member of the group has the topic's partitions all the time, paused; so a replay begins where the last one stopped,
 * at the group's committed position, and needs no rebalance.
 */
export class DlqReplays {
  #replay: Replay | undefined

  constructor(readonly host: DlqReplayHost) {}

  get active(): boolean {
    return this.#replay?.ends !== undefined
  }

  /** A caught-up replay leaves alone what was written after it began, its own failures among it. */
  accepts(partition: number, offset: number): boolean {
    const replay = this.#replay
    if (replay?.ends === undefined) return false
    return replay.forever || offset < (replay.ends.get(partition) ?? 0)
  }

  count(what: 'delivered' | 'skipped'): void {
    if (this.#replay === undefined) return
    this.#replay[what]++
    this.#emit(this.#replay)
  }

  /** A position of the DLQ topic moved, or the assignments changed. */
  progressed(): void {
    const replay = this.#replay
    if (replay?.ends === undefined || this.host.dlqAssignments() === undefined) return
    const { remaining } = this.#emit(replay)
    if (remaining === 0 && !replay.forever) replay.subscriber.complete()
  }

  run(options: DlqReplayOptions = {}): Observable<DlqReplayProgress> {
    return new Observable(subscriber => {
      if (this.#replay !== undefined) {
        subscriber.error(new RxMikaError('RXMIKA_REPLAY_RUNNING', 'a replay of the DLQ topic is running already'))
        return
      }
      const replay: Replay = {
        subscriber,
        forever: options.until === 'forever',
        ends: undefined,
        delivered: 0,
        skipped: 0,
      }
      this.#replay = replay
      subscriber.add(() => {
        this.#replay = undefined
        this.#drain()
      })
      subscriber.add(
        this.host.endOffsets().subscribe({
          next: ends => {
            replay.ends = ends
            this.#drain()
            this.progressed()
          },
          error: error => subscriber.error(error),
        }),
      )
    })
  }

  end(error: unknown): void {
    if (error === undefined) this.#replay?.subscriber.complete()
    else this.#replay?.subscriber.error(error)
  }

  #emit(replay: Replay): DlqReplayProgress {
    let remaining = 0
    for (const { partition, position } of this.host.dlqAssignments() ?? []) {
      remaining += Math.max(0, (replay.ends?.get(partition) ?? 0) - position)
    }
    const progress = { delivered: replay.delivered, skipped: replay.skipped, remaining }
    replay.subscriber.next(progress)
    return progress
  }

  #drain(): void {
    for (const assignment of this.host.dlqAssignments() ?? []) assignment.drain()
  }
}
