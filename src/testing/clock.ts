import { asapScheduler, type SchedulerAction, type SchedulerLike, type Subscription } from 'rxjs'
import { TestScheduler } from 'rxjs/testing'
import { ConfigurationError } from '../errors.js'

/** The time of a run, in frames of 1 ms from 0. */
export interface Clock {
  /** The time of the broker and its clients. */
  readonly scheduler: SchedulerLike
  now(): number
  /** Runs `work` at the frame, or at once if the frame has begun. */
  at(frame: number, work: () => void): void
}

/** More actions than any pipeline has in one frame. Beyond that, something schedules itself without a delay, and time stops. */
const maxActionsPerFrame = 50_000

/** Virtual time: RxJS's `TestScheduler`, with a limit for code that would run forever. */
export class VirtualClock extends TestScheduler implements Clock {
  #counted = 0
  #actions = 0

  get scheduler(): SchedulerLike {
    return this
  }

  at(frame: number, work: () => void): void {
    this.schedule(work, Math.max(0, frame - this.frame))
  }

  /** Runs everything up to that frame, and nothing later. */
  flushUntil(frame: number): void {
    this.maxFrames = frame
    super.flush()
  }

  override schedule<T>(work: (this: SchedulerAction<T>, state?: T) => void, delay = 0, state?: T): Subscription {
    if (this.#counted !== this.frame) {
      this.#counted = this.frame
      this.#actions = 0
    }
    if (++this.#actions > maxActionsPerFrame) {
      throw new ConfigurationError(
        `time stands still: more than ${maxActionsPerFrame} actions at frame ${this.frame}. ` +
          'Something feeds itself without a delay, for example retries without a backoff',
      )
    }
    return super.schedule(work, delay, state)
  }
}

/**
 * The time of fake timers, for code that awaits promises. Work without a delay runs in microtasks, in the same frame; work
 * with a delay is a timer.
 */
export class TimerClock implements Clock {
  readonly scheduler: SchedulerLike = asapScheduler
  readonly #start = asapScheduler.now()

  /** @param advanceTimers Fires the fake timers that are due within so many ms, and awaits what they start. */
  constructor(readonly advanceTimers: (ms: number) => Promise<unknown>) {}

  now(): number {
    return asapScheduler.now() - this.#start
  }

  at(frame: number, work: () => void): void {
    asapScheduler.schedule(work, Math.max(0, frame - this.now()))
  }

  /** @throws ConfigurationError if that does not move the time: the timers, or one of the two clocks, are not faked. */
  async advanceTo(frame: number): Promise<void> {
    const time = frame - this.now()
    const before = performance.now()
    await this.advanceTimers(time)
    const measured = Math.round(performance.now() - before)
    if (this.now() >= frame && measured >= time) return
    throw new ConfigurationError(
      `advanceTimers(${time}) left the time at ${this.now()} ms, and performance moved by ${measured} ms: fake the timers, ` +
        'Date and performance before, as by vi.useFakeTimers() and advanceTimers: ms => vi.advanceTimersByTimeAsync(ms)',
    )
  }
}
