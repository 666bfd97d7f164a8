import {
  decodeRequestHeader,
  encodeRequestFrame,
  encodeResponseFrame,
  responseBody,
} from '../../src/protocol/messages/headers'
import { produce } from '../../src/protocol/messages/produce'

/** A batch on its way to a broker. */
export interface ProxiedBatch {
  readonly topic: string
  readonly partition: number
  readonly producerId: bigint
  readonly epoch: number
  /** Sequence number of its first record. */
  readonly first: number
  readonly count: number
  readonly records: Buffer
}

/** The fate of a producer's batch at the proxy. */
export interface ProduceFate {
  /**
   * `true`: the broker gets the batch. `false`: it does not. `'late'`: it gets the batch when `BrokerProxy.arriveLate` is called;
   * only with `'cut'`.
   */
  readonly append: boolean | 'late'
  /**
   * The error code of the answer. Absent: the broker's own, or NOT_ENOUGH_REPLICAS if the broker did not get the batch.
   * `'cut'`: the connection is closed when the broker has answered. `'left-out'`: the answer omits the batch.
   */
  readonly answer?: number | 'cut' | 'left-out'
}

const notEnoughReplicas = 19

/** A Produce request on its way through a proxy, and its answer on the way back. */
export class ProducePassage {
  readonly late: ProxiedBatch[] = []
  /** True: the producer's connection is closed without an answer. */
  readonly cut: boolean
  /** The request as the broker gets it. An empty request is sent too, because answers have to keep their order. */
  readonly request: Buffer
  readonly #version: number
  readonly #fates: readonly (ProxiedBatch & ProduceFate)[]

  constructor(frame: Buffer, fate: (batch: ProxiedBatch) => ProduceFate) {
    const { header, body } = decodeRequestHeader(frame.subarray(4))
    this.#version = header.apiVersion
    const request = produce.decodeRequest(body, header.apiVersion)
    this.#fates = request.topicData.flatMap(({ name, partitionData }) =>
      partitionData.map(({ index, records }) => {
        const batch = batchOf(name, index, records!)
        return { ...batch, ...fate(batch) }
      }),
    )
    this.cut = this.#fates.some(({ answer }) => answer === 'cut')
    this.late.push(...this.#fates.filter(({ append }) => append === 'late'))
    const topicData = [...new Set(this.#fates.map(({ topic }) => topic))].flatMap(name => {
      const passing = this.#fates.filter(({ topic, append }) => topic === name && append === true)
      const partitionData = passing.map(({ partition, records }) => ({ index: partition, records }))
      return passing.length === 0 ? [] : [{ name, partitionData }]
    })
    const passed = produce.encodeRequest({ ...request, topicData }, header.apiVersion)
    this.request = encodeRequestFrame(produce, header, passed)
  }

  /** @param frame The broker's answer. */
  answer(frame: Buffer): Buffer {
    const version = this.#version
    const answered = produce.decodeResponse(responseBody(produce, version, frame.subarray(4)), version)
    const answeredFor = this.#fates.filter(({ answer }) => answer !== 'left-out')
    const responses = answeredFor.map(({ topic, partition, answer }) => {
      const own = answered.responses
        .find(({ name }) => name === topic)
        ?.partitionResponses.find(({ index }) => index === partition)
      const partitionResponse =
        answer === undefined && own !== undefined
          ? own
          : { index: partition, errorCode: typeof answer === 'number' ? answer : notEnoughReplicas, baseOffset: -1 }
      return { name: topic, partitionResponses: [partitionResponse] }
    })
    const body = produce.encodeResponse({ ...answered, responses }, version)
    return encodeResponseFrame(produce, version, frame.readInt32BE(4), body)
  }
}

/** Places in a record batch. Source: "Record Batch" of Kafka's protocol guide. */
const place = { producerId: 43, epoch: 51, first: 53, count: 57 } as const

function batchOf(topic: string, partition: number, records: Buffer): ProxiedBatch {
  return {
    topic,
    partition,
    producerId: records.readBigInt64BE(place.producerId),
    epoch: records.readInt16BE(place.epoch),
    first: records.readInt32BE(place.first),
    count: records.readInt32BE(place.count),
    records,
  }
}
