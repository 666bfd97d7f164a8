import { Observable, type SchedulerLike } from 'rxjs'
import {
  type Leaders,
  type OutgoingBatch,
  type ProduceAnswer,
  type ProducerId,
  type TopicLeaders,
  WriteError,
} from '../../src/drivers/kafka/writing/leaders'
import { ZERO_UUID } from '../../src/protocol/wire/uuid'
import type { FakeCluster } from './fake-cluster'
import { decodeProduce, encodeProduce } from './produce-bytes'

/** The latency of a request in each direction, ms. */
const latency = 1
/** How long a driver waits for an answer, ms. */
const patience = 1_000

/** The connections to the brokers of a fake cluster, in virtual time. They take and return bytes. */
export class FakeLeaders implements Leaders {
  /** Replaces the answer to a request for metadata or a producer id. */
  refusal: (what: 'partitions' | 'producerId', topic?: string) => Error | undefined = () => undefined
  /** The leaders according to metadata. Brokers learn of changes one after the other. */
  believed: (topic: string, partition: number) => number
  epoch = 0

  constructor(
    readonly cluster: FakeCluster,
    readonly scheduler: SchedulerLike,
    readonly version = 7,
  ) {
    this.believed = (topic, partition) => cluster.leader(topic, partition)
  }

  partitions(topic: string): Observable<TopicLeaders> {
    return this.#answer(() => {
      const refusal = this.refusal('partitions', topic)
      const count = this.cluster.topics.get(topic)
      if (refusal !== undefined) throw refusal
      if (count === undefined) throw new Error('UNKNOWN_TOPIC_OR_PARTITION')
      const partitions = Array.from({ length: count }, (_, partitionId) => ({
        partitionId,
        leader: this.believed(topic, partitionId),
      }))
      return { topicId: ZERO_UUID, partitions }
    })
  }

  producerId(): Observable<ProducerId> {
    return this.#answer(() => {
      const refusal = this.refusal('producerId')
      if (refusal !== undefined) throw refusal
      return { id: this.cluster.newProducerId(), epoch: this.epoch }
    })
  }

  produce(node: number, batches: readonly OutgoingBatch[]): Observable<readonly ProduceAnswer[]> {
    const request = encodeProduce(batches, 10_000)
    return new Observable(subscriber => {
      this.scheduler.schedule(() => {
        const ending = this.cluster.produce(node, request, this.version)
        const [after, answer] =
          ending === 'silence'
            ? [patience, () => subscriber.error(unanswered('no answer'))]
            : ending === 'cut'
              ? [latency, () => subscriber.error(unanswered('the connection broke'))]
              : [
                  latency,
                  () => {
                    subscriber.next(decodeProduce(ending, this.version).answers)
                    subscriber.complete()
                  },
                ]
        subscriber.add(this.scheduler.schedule(answer, after))
      }, latency)
    })
  }

  #answer<T>(answer: () => T): Observable<T> {
    return new Observable(subscriber =>
      this.scheduler.schedule(() => {
        try {
          subscriber.next(answer())
          subscriber.complete()
        } catch (error) {
          subscriber.error(error)
        }
      }, latency),
    )
  }
}

function unanswered(why: string): WriteError {
  return new WriteError(`${why} (broker:9092)`, { cause: undefined, permanent: false, unsent: false })
}
