import { asyncScheduler, type SchedulerAction, type SchedulerLike, type Subscription } from 'rxjs'
import { clockOf } from '../../clock.js'
import { ConfigurationError } from '../../errors.js'

/** The process of a driver: it can be suspended, and its machine's wall clock can be moved. */
export class MemberProcess {
  /** The scheduler for the member's code. */
  readonly scheduler: SchedulerLike
  frozen = false
  readonly #wall: () => number
  #setBy = 0
  /** Work that was due while the process was frozen, in order. */
  readonly #waiting: (() => void)[] = []

  constructor(readonly world: SchedulerLike) {
    this.#wall = clockOf({ scheduler: world }).wall
    // In real time, a member shares its process with the test, which cannot be frozen.
    this.scheduler = world === asyncScheduler ? world : new FreezableScheduler(world, this)
  }

  wallTime(): number {
    return this.#wall() + this.#setBy
  }

  /** Moves the wall clock by `by` ms, forward or back, but not before 1970. */
  setClock(by: number): void {
    this.#setBy = Math.max(-this.#wall(), this.#setBy + by)
  }

  freeze(): void {
    if (this.scheduler === asyncScheduler) throw new ConfigurationError('freeze() needs virtual time or fake timers')
    this.frozen = true
  }

  thaw(): void {
    this.frozen = false
    while (!this.frozen && this.#waiting.length > 0) this.#waiting.shift()!()
  }

  /** Runs work from outside or from a timer: at once, or when the process continues. */
  run(work: () => void): void {
    if (this.frozen) this.#waiting.push(work)
    else work()
  }
}

class FreezableScheduler implements SchedulerLike {
  /** In real time the same function as the world's, because `Clock` recognizes real time by it. */
  readonly now: () => number

  constructor(
    readonly world: SchedulerLike,
    readonly process: MemberProcess,
  ) {
    this.now = world.now === asyncScheduler.now ? world.now : () => world.now()
  }

  schedule<T>(work: (this: SchedulerAction<T>, state?: T) => void, delay?: number, state?: T): Subscription {
    const { process } = this
    return this.world.schedule<T>(
      function (this: SchedulerAction<T>, state?: T) {
        // Called directly if possible, because most runs freeze no process.
        if (!process.frozen) work.call(this, state)
        else process.run(() => this.closed || work.call(this, state))
      },
      delay,
      state,
    )
  }
}
