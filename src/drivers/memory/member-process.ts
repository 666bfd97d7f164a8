import { asyncScheduler, type SchedulerAction, type SchedulerLike, type Subscription } from 'rxjs'
import { clockOf } from '../../clock.js'
import { ConfigurationError } from '../../errors.js'

/** The process that a driver lives in: it can stand still, and its machine's wall clock can be set. */
export class MemberProcess {
  /** As the member's code sees it. */
  readonly scheduler: SchedulerLike
  frozen = false
  readonly #wall: () => number
  #setBy = 0
  /** What would have run meanwhile, in its order. */
  readonly #waiting: (() => void)[] = []

  constructor(readonly world: SchedulerLike) {
    this.#wall = clockOf({ scheduler: world }).wall
    // In real time a member shares its process with the test, which nobody can freeze.
    this.scheduler = world === asyncScheduler ? world : new FreezableScheduler(world, this)
  }

  wallTime(): number {
    return this.#wall() + this.#setBy
  }

  /** Sets the wall clock `by` ms forward, or back, but never to a time before 1970. */
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

  /** Runs what comes from outside or from a timer: at once, or when the process goes on. */
  run(work: () => void): void {
    if (this.frozen) this.#waiting.push(work)
    else work()
  }
}

class FreezableScheduler implements SchedulerLike {
  /** The very function where that shows real time: by it a `Clock` knows. */
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
        // Not wrapped where it need not be: most runs freeze nobody.
        if (!process.frozen) work.call(this, state)
        else process.run(() => this.closed || work.call(this, state))
      },
      delay,
      state,
    )
  }
}
