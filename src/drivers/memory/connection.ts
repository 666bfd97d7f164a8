import { BehaviorSubject, filter, Observable, type SchedulerLike, Subscription, skip, take } from 'rxjs'

/** The connection between drivers and the broker. It has a latency, and it can be cut. */
export class Connection {
  readonly #online = new BehaviorSubject(true)
  /** True: reconnected; false: disconnected. */
  readonly changes: Observable<boolean> = this.#online.pipe(skip(1))

  constructor(
    readonly scheduler: SchedulerLike,
    readonly latency: number,
  ) {}

  get online(): boolean {
    return this.#online.value
  }

  set online(online: boolean) {
    if (online !== this.#online.value) this.#online.next(online)
  }

  /** Calls `arrive` once a message sent now has arrived. While the broker is away, the message is sent again on its return. */
  reach(arrive: () => void): Subscription {
    const underWay = new Subscription()
    const send = () => {
      underWay.add(
        this.scheduler.schedule(() => {
          if (!this.online) {
            underWay.add(this.#return().subscribe(send))
            return
          }
          underWay.unsubscribe()
          arrive()
        }, this.latency),
      )
    }
    send()
    return underWay
  }

  /**
   * A request that waits while the broker is away. Once sent it arrives, even if its sender unsubscribes. A sender that
   * unsubscribes before takes it back.
   */
  request<T>(arrive: () => T): Observable<T> {
    return new Observable(subscriber => {
      const send = () => {
        this.scheduler.schedule(() => {
          if (this.online) answer(subscriber, arrive)
          else subscriber.add(this.#return().subscribe(send))
        }, this.latency)
      }
      if (this.online) send()
      else subscriber.add(this.#return().subscribe(send))
    })
  }

  /** A request that does not wait: `arrive` gets whether the broker is online. */
  attempt<T>(arrive: (online: boolean) => T): Observable<T> {
    return new Observable(subscriber => {
      this.scheduler.schedule(() => answer(subscriber, () => arrive(this.online)), this.latency)
    })
  }

  #return(): Observable<boolean> {
    return this.#online.pipe(filter(Boolean), take(1))
  }
}

function answer<T>(subscriber: { next(value: T): void; error(error: unknown): void; complete(): void }, work: () => T) {
  let value: T
  try {
    value = work()
  } catch (error) {
    subscriber.error(error)
    return
  }
  subscriber.next(value)
  subscriber.complete()
}
