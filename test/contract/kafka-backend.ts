import { type Admin, Kafka, logLevel, type Producer } from 'kafkajs'
import { Observable, type Subscriber } from 'rxjs'
import type { ConsumeRequest, Driver, GroupProtocol } from 'rxmika'
import { KafkaDriver } from '../../src/drivers/kafka/driver'
import { consumerGroupState } from '../kafka/consumer-group-state'
import { createTopic } from '../kafka/create-topic'
import type { Backend, MortalDriver } from './backend'
import { readPartition } from './wire-reader'

/** A real Kafka, looked at through kafkajs's admin client and its wire format. Groups are joined by `groupProtocol`. */
export function kafkaBackend(
  brokers: () => readonly string[],
  { groupProtocol = 'auto' }: { readonly groupProtocol?: GroupProtocol } = {},
): Backend {
  let kafka: Kafka
  let admin: Admin
  let producer: Producer
  const config = () => ({ brokers: [...brokers()], logLevel: logLevel.NOTHING })
  return {
    open: async () => {
      kafka = new Kafka(config())
      admin = kafka.admin()
      // Otherwise kafkajs writes a send again as a whole where one of its partitions was refused.
      producer = kafka.producer({ idempotent: true })
      await Promise.all([admin.connect(), producer.connect()])
    },
    close: async () => {
      await Promise.all([admin.disconnect(), producer.disconnect()])
    },
    connection: () => ({ brokers: [...brokers()], groupProtocol }),
    driver: () => new ProtocolDriver(brokers(), groupProtocol),
    mortalDriver: () => mortal(new ProtocolDriver(brokers(), groupProtocol)),
    // Records that a test gives a timestamp long past would be deleted, for copies too, whenever the broker looks.
    createTopic: (topic, numPartitions) =>
      createTopic(config(), { topic, numPartitions, configEntries: [{ name: 'retention.ms', value: '-1' }] }),
    publish: async (topic, records) => {
      const messages = records.map(({ timestamp, ...record }) => ({
        ...record,
        ...(timestamp !== undefined && { timestamp: String(timestamp) }),
      }))
      await producer.send({ topic, messages })
    },
    records: async topic => {
      const { brokers: nodes } = await admin.describeCluster()
      const [metadata] = (await admin.fetchTopicMetadata({ topics: [topic] })).topics
      const partitions = [...metadata!.partitions].sort((a, b) => a.partitionId - b.partitionId)
      const read = partitions.map(({ partitionId, leader }) => {
        const { host, port } = nodes.find(({ nodeId }) => nodeId === leader)!
        return readPartition({ host, port }, topic, partitionId)
      })
      return (await Promise.all(read)).flat()
    },
    committed: async (groupId, topic, partition) => {
      const [fetched] = await admin.fetchOffsets({ groupId, topics: [topic] })
      const offset = fetched?.partitions.find(found => found.partition === partition)?.offset
      return offset === undefined || offset === '-1' ? undefined : BigInt(offset)
    },
    rebalancing: async group => {
      const classicState = async () => (await admin.describeGroups([group])).groups[0]?.state
      const waits = async () =>
        (await classicState()) === 'PreparingRebalance' ||
        (await consumerGroupState(brokers(), group)) === 'Reconciling'
      while (!(await waits())) {}
    },
    groups: async () => (await admin.listGroups()).groups.map(({ groupId }) => groupId),
  }
}

/** Joins groups by one protocol, whatever it is asked for. */
class ProtocolDriver extends KafkaDriver {
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
 * Killed, it hears and says nothing any more, and leaves its group without committing. A member that is killed by its
 * system is missed only at its session's end, which tests do not wait for.
 */
function mortal(driver: Driver): MortalDriver {
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
      endOffsets: topic => whileAlive(driver.endOffsets(topic)),
      consume: request => whileAlive(driver.consume(request)),
      read: request => whileAlive(driver.read(request)),
      seek: moves => whileAlive(driver.seek(moves)),
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
