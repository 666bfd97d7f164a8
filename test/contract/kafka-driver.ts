import { Observable, type Subscriber } from 'rxjs'
import type { ConsumeRequest, Driver, GroupProtocol } from 'rxmika'
import { KafkaDriver } from '../../src/drivers/kafka/driver'
import type { MortalDriver } from './backend'

/** Joins groups by the given protocol, whatever the options are. */
export class ProtocolDriver extends KafkaDriver {
  constructor(
    brokers: readonly string[],
    readonly groupProtocol: GroupProtocol,
  ) {
    super({ brokers })
  }

  override consume(request: ConsumeRequest) {
    return super.consume({ ...request, groupProtocol: this.groupProtocol })
  }
}

/**
 * A killed driver emits and accepts nothing any more, and leaves its group without committing. A really killed member would be
 * removed only at the end of its session, for which tests do not wait.
 */
export function mortal(driver: Driver): MortalDriver {
  let dead = false
  const whileAlive = <T>(source: Observable<T>): Observable<T> =>
    new Observable<T>((subscriber: Subscriber<T>) => {
      if (dead) return
      return source.subscribe({
        next: value => dead || subscriber.next(value),
        error: error => dead || subscriber.error(error),
        complete: () => dead || subscriber.complete(),
      })
    })
  return {
    driver: {
      scheduler: driver.scheduler,
      connect: context => whileAlive(driver.connect(context)),
      topics: names => whileAlive(driver.topics(names)),
      topicNames: names => whileAlive(driver.topicNames(names)),
      endOffsets: topic => whileAlive(driver.endOffsets(topic)),
      consume: request => whileAlive(driver.consume(request)),
      read: request => whileAlive(driver.read(request)),
      seek: moves => whileAlive(driver.seek(moves)),
      subscribe: topics => dead || driver.subscribe(topics),
      pause: assignments => dead || driver.pause(assignments),
      resume: assignments => dead || driver.resume(assignments),
      commit: points => whileAlive(driver.commit(points)),
      readAt: (assignment, offset) => whileAlive(driver.readAt(assignment, offset)),
      produce: outgoing =>
        dead ||
        driver.produce({
          topic: outgoing.topic,
          key: outgoing.key,
          partition: outgoing.partition,
          record: () => outgoing.record(),
          get wanted() {
            return !dead && outgoing.wanted
          },
          settle: result => dead || outgoing.settle(result),
          abandoned: () => dead || outgoing.abandoned(),
          delayed: (error, lasting) => dead || outgoing.delayed(error, lasting),
        }),
      leave: () => whileAlive(driver.leave()),
      close: () => whileAlive(driver.close()),
    },
    kill: () => {
      dead = true
      return new Promise((complete, error) => driver.close().subscribe({ complete, error }))
    },
  }
}
