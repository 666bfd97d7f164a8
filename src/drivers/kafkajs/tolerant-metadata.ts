import type { ProtocolRequest } from './kafkajs-internals.js'

export const metadataKey = 3

interface DecodedMetadata {
  readonly topicMetadata: readonly { readonly partitionMetadata: { partitionErrorCode: number }[] }[]
}

/**
 * A request for metadata whose answer may have partitions without a leader: theirs is -1, as the brokers say it. kafkajs
 * makes an error of the whole answer then, and knows neither brokers nor leaders of anything until every partition of
 * every topic has one. And for no topics at all it asks for those of the whole cluster; this asks for the brokers alone.
 */
export function tolerantMetadata(call: ProtocolRequest): ProtocolRequest {
  const { request, response } = call
  return {
    request: {
      ...request,
      encode: async () => {
        const { buffer } = await request.encode()
        if (request.apiVersion === 0 || buffer.readInt32BE(0) >= 0) return { buf: buffer, buffer }
        // Null is every topic from version 1 on, an empty array is none.
        const brokersAlone = Buffer.from(buffer)
        brokersAlone.writeInt32BE(0, 0)
        return { buf: brokersAlone, buffer: brokersAlone }
      },
    },
    response: {
      ...response,
      parse: decoded => {
        for (const { partitionMetadata } of (decoded as DecodedMetadata).topicMetadata) {
          for (const partition of partitionMetadata) partition.partitionErrorCode = 0
        }
        return response.parse(decoded)
      },
    },
  }
}
