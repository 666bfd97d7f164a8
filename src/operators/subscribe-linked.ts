import { type Observable, type Observer, Subject, type Subscriber, Subscription, takeUntil } from 'rxjs'

/**
 * Subscribes for an operator, and leaves the source the moment its subscriber closes, also while the source still emits
 * synchronously: a topic hands out its backlog that way, and what is taken in by a closed pipeline has to be given back.
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
  // `retry()` subscribes again from within the error of this one, which no completion can end any more.
  subscriber.add(subscription)
  return subscription
}
