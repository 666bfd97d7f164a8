import { type Observable, type Observer, Subject, type Subscriber, Subscription, takeUntil } from 'rxjs'

/**
 * Subscribes to an operator's source, and unsubscribes as soon as the subscriber closes, even while the source emits
 * synchronously. A topic emits its backlog synchronously, and records that a closed pipeline takes would have to be returned.
 */
export function subscribeLinked<T>(
  source: Observable<T>,
  subscriber: Subscriber<unknown>,
  observer: Observer<T>,
): Subscription {
  if (subscriber.closed) return Subscription.EMPTY
  const closed = new Subject<void>()
  subscriber.add(() => closed.next())
  const subscription = source.pipe(takeUntil(closed)).subscribe(observer)
  // Added to the subscriber too: `retry()` resubscribes within the error of the last run, which `closed` no longer ends.
  subscriber.add(subscription)
  return subscription
}
