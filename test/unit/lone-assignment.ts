import { NEVER, type Observable } from 'rxjs'
import type { Driver, PartitionAssignment } from 'rxmika'
import { noClient } from '../../src/channels.js'
import { Assignment, type AssignmentHost, type Reading } from '../../src/client/assignment.js'
import { Commits } from '../../src/client/commits.js'
import { Counters } from '../../src/client/counters.js'
import { FailureRoute } from '../../src/client/failure-route.js'
import { Reports } from '../../src/client/reports.js'
import { StreamTopic } from '../../src/client/stream-topic.js'
import { TopicNames } from '../../src/client/topic-names.js'
import { TopicStream } from '../../src/client/topic-stream.js'
import { clockOf } from '../../src/clock.js'
import type { DeliveredRecord } from '../../src/record.js'
import type { RecordBatch } from '../../src/record-batch.js'
import { logged } from '../log-lines.js'
import { Clock } from './clock.js'

/** As many records as asked for, with nothing in them. */
export function batchOf(count: number, first = 0): RecordBatch {
  return {
    ...{ count, lastOffset: first + count - 1, byteLength: 1 },
    offset: index => first + index,
    timestamp: () => 1_000,
    key: () => null,
    value: () => null,
    headers: () => [],
    copy: index => batchOf(1, first + index),
  }
}

/**
 * An assignment without a client. It reads a registered topic, or a retry topic whose first record is due in an hour and
 * whose other records belong to another group.
 */
export function setUp({ kind = 'topic' as 'topic' | 'retry', group = false } = {}) {
  const clock = new Clock()
  const seen: DeliveredRecord[] = []
  const fetching = { paused: 0, resumed: 0 }
  const outOfOrder: [offset: number, expected: number][] = []
  const handle: PartitionAssignment = { topic: 'orders', partition: 0, position: 0, metadata: '', ended: false }
  const host: AssignmentHost = {
    clock: clockOf({ scheduler: clock }),
    reports: new Reports(logged('silent').logger, new TopicNames(''), clock),
    ...{ stallAfter: 60_000, ownHeaders: undefined, rebalances: { underWay: false, changes: NEVER } },
    ...{ delivering: true, doubtful: false, identity: noClient, counters: new Counters() },
    soon: work => clock.schedule(work),
    pauseFetching: () => fetching.paused++,
    resumeFetching: () => fetching.resumed++,
    readAt: (): Observable<RecordBatch> => NEVER,
    outOfOrder: (_, offset, expected) => outOfOrder.push([offset, expected]),
    commitDue: () => {},
    deliveryEnded: () => {},
  }
  const route = new FailureRoute(
    failures => failures,
    () => {},
    () => {},
  )
  const stream: TopicStream = new TopicStream('orders', () => [assignment])
  const topic = new StreamTopic('orders', stream, route)
  const reading: Reading = {
    ...{ kind, maxInFlight: 10_000, strict: false, keyFence: undefined, active: true },
    accepts: () => true,
    closedBecause: () => topic.closedBecause(),
    admit: (_, record) => {
      if (kind === 'topic') return { stream: topic, dueIn: 0 }
      if (record.slot === 0) return { stream: topic, dueIn: 3_600_000 }
      assignment.complete(record)
      return undefined
    },
    streamOf: () => topic,
    routeOf: () => route,
  }
  const told = { refused() {}, forgotten() {} }
  const driver = { commit: () => NEVER } as unknown as Driver
  const commits = new Commits(driver, host.clock, 100, told, new TopicNames(''), noClient)
  const assignment: Assignment = new Assignment(handle, 'orders', reading, host, group)
  if (group) commits.track(assignment)
  const subscribe = () => stream.records.subscribe(record => seen.push(record as DeliveredRecord))
  return { clock, assignment, commits, fetching, handle, outOfOrder, reading, seen, stream, subscribe }
}
